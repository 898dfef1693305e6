// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bytes of an input file, decompressed, block by block. Which kind of file it is shows in its first bytes, never in
// its name. Compressed streams are inflated on a thread of their own that runs ahead of the reader by a few blocks.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lsd::data {

enum class Encoding { plain, gzip, zstd };
std::string_view encoding_name(Encoding encoding);

// An open file, or standard input ("-"), with a look at its first bytes.
class InputFile {
 public:
  explicit InputFile(const std::string& path, std::uint64_t start = 0);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& name() const { return name_; }
  Encoding encoding() const { return encoding_; }
  bool splittable() const { return splittable_; }  // a regular file of plain text
  bool empty() const { return head_size_ == 0; }
  std::uint64_t bytes_read() const { return bytes_read_; }  // as they lie on disk
  // Fills `out` unless the file ends; 0 at its end.
  std::size_t read(std::span<char> out);

 private:
  void open(const std::string& path, std::uint64_t start);
  void look_at_head();
  std::size_t read_from_file(std::span<char> out);

  std::string name_;
  int file_ = -1;
  Encoding encoding_ = Encoding::plain;
  bool splittable_ = false;
  std::uint64_t bytes_read_ = 0;
  char head_[8] = {};
  std::size_t head_size_ = 0, head_used_ = 0;
};

// Decompressed bytes in order. `read` fills `out` unless the data ends; 0 at the end. DataError when they are damaged.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual std::size_t read(std::span<char> out) = 0;
};

std::unique_ptr<ByteStream> make_plain_stream(InputFile& file);
std::unique_ptr<ByteStream> make_gzip_stream(InputFile& file);
std::unique_ptr<ByteStream> make_zstd_stream(InputFile& file);

// Blocks of a stream. The bytes of a block stay valid until the next call.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  virtual std::span<const char> next_block() = 0;  // empty at the end
};

std::unique_ptr<BlockSource> make_direct_blocks(std::unique_ptr<ByteStream> stream, std::size_t block_bytes);
// Reads ahead on a thread; an error of the stream is thrown after the blocks before it were handed out.
std::unique_ptr<BlockSource> make_ahead_blocks(std::unique_ptr<ByteStream> stream, std::size_t block_bytes, int blocks);

// The whole chain for one file, whose lifetime must exceed the result's.
std::unique_ptr<BlockSource> open_blocks(InputFile& file);

// A whole decompressed file in memory: for files of megabytes, such as task tables.
std::string read_whole_text(InputFile& file);

}  // namespace lsd::data
