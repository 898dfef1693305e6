// SPDX-License-Identifier: Apache-2.0
#include "gzip_text_internal.h"

#include <fmt/format.h>
#include <zlib.h>

#include <array>
#include <memory>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"

namespace lsd::data {
namespace {

constexpr std::size_t kSmallestMember = 18;  // header and trailer of an empty gzip member

bool has_gzip_magic(std::string_view bytes) {
  return bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
}

struct InflateEnd {
  void operator()(z_stream* stream) const {
    inflateEnd(stream);
    delete stream;
  }
};

// Appends the decompressed member that starts at `begin` and returns where it ends.
std::size_t inflate_member(const std::string& bytes, std::size_t begin, std::string& text, const std::string& name) {
  std::unique_ptr<z_stream, InflateEnd> stream(new z_stream{});
  if (inflateInit2(stream.get(), 16 + MAX_WBITS) != Z_OK) throw SystemError("zlib: out of memory");
  std::array<char, 1 << 16> buffer;
  std::size_t consumed = begin;
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    const std::size_t piece = std::min<std::size_t>(bytes.size() - consumed, 1U << 30U);
    // zlib does not write through next_in; its interface is older than const.
    stream->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + consumed));
    stream->avail_in = static_cast<uInt>(piece);
    stream->next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream->avail_out = static_cast<uInt>(buffer.size());
    status = inflate(stream.get(), Z_NO_FLUSH);
    consumed += piece - stream->avail_in;
    const std::size_t made = buffer.size() - stream->avail_out;
    text.append(buffer.data(), made);
    if (status == Z_BUF_ERROR || (status == Z_OK && consumed == bytes.size() && made == 0)) {
      throw DataError(
          fmt::format("{}: the gzip data end early after {} bytes of text: the file was cut off. Get it again.", name,
                      text.size()));
    }
    if (status != Z_OK && status != Z_STREAM_END) {
      throw DataError(fmt::format("{}: corrupt gzip data at compressed byte {} ({}). Get the file again.", name,
                                  consumed, stream->msg != nullptr ? stream->msg : "no reason given"));
    }
  }
  return consumed;
}

}  // namespace

std::string read_maybe_gzip(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::string bytes = read_text_file(path);
  if (!has_gzip_magic(bytes)) {
    if (path.extension() == ".gz") {
      throw DataError(fmt::format("{}: named .gz but not gzip data. Rename it or compress it.", name));
    }
    return bytes;
  }
  std::string text;
  std::size_t position = 0;
  while (position < bytes.size()) {
    if (bytes.size() - position < kSmallestMember || !has_gzip_magic(std::string_view(bytes).substr(position))) {
      throw DataError(
          fmt::format("{}: {} bytes behind the end of the gzip data (compressed byte {}). Get the file again.", name,
                      bytes.size() - position, position));
    }
    position = inflate_member(bytes, position, text, name);
  }
  return text;
}

}  // namespace lsd::data
