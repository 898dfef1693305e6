// SPDX-License-Identifier: Apache-2.0
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "byte_stream_internal.h"

namespace lsd::data {
namespace {

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(InputFile& file) : file_(file) {}
  std::size_t read(std::span<char> out) override { return file_.read(out); }

 private:
  InputFile& file_;
};

class DirectBlocks final : public BlockSource {
 public:
  DirectBlocks(std::unique_ptr<ByteStream> stream, std::size_t block_bytes)
      : stream_(std::move(stream)), block_(block_bytes) {}
  std::span<const char> next_block() override { return std::span<const char>(block_).first(stream_->read(block_)); }

 private:
  std::unique_ptr<ByteStream> stream_;
  std::vector<char> block_;
};

// A ring of blocks between one producer and one consumer. The consumer holds block `taken_ - 1`; the producer fills
// blocks up to `taken_ - 1 + ring size - 1`.
class AheadBlocks final : public BlockSource {
 public:
  AheadBlocks(std::unique_ptr<ByteStream> stream, std::size_t block_bytes, int blocks)
      : stream_(std::move(stream)),
        ring_(static_cast<std::size_t>(blocks)),
        thread_([this, block_bytes] { run(block_bytes); }) {}

  ~AheadBlocks() override {
    {
      const std::scoped_lock lock(mutex_);
      cancelled_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::span<const char> next_block() override {
    std::unique_lock lock(mutex_);
    if (holding_) {
      holding_ = false;
      ++released_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return filled_ > released_ || ended_; });
    if (filled_ > released_) {
      holding_ = true;
      const auto& slot = ring_[released_ % ring_.size()];
      return std::span<const char>(slot.bytes).first(slot.size);
    }
    if (error_) std::rethrow_exception(error_);
    return {};
  }

 private:
  struct Slot {
    std::vector<char> bytes;
    std::size_t size = 0;
  };

  void run(std::size_t block_bytes) {
    try {
      for (auto& slot : ring_) slot.bytes.resize(block_bytes);
      while (Slot* slot = wait_for_free_slot()) {
        slot->size = stream_->read(slot->bytes);
        if (slot->size == 0) break;
        publish();
      }
    } catch (...) {
      error_ = std::current_exception();
    }
    {
      const std::scoped_lock lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
  }

  Slot* wait_for_free_slot() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return cancelled_ || filled_ - released_ < ring_.size(); });
    return cancelled_ ? nullptr : &ring_[filled_ % ring_.size()];
  }

  void publish() {
    {
      const std::scoped_lock lock(mutex_);
      ++filled_;
    }
    changed_.notify_all();
  }

  std::unique_ptr<ByteStream> stream_;
  std::vector<Slot> ring_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t filled_ = 0, released_ = 0;  // blocks so far
  bool holding_ = false, ended_ = false, cancelled_ = false;
  std::exception_ptr error_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<ByteStream> make_plain_stream(InputFile& file) {
  return std::make_unique<PlainStream>(file);
}

std::unique_ptr<BlockSource> make_direct_blocks(std::unique_ptr<ByteStream> stream, std::size_t block_bytes) {
  return std::make_unique<DirectBlocks>(std::move(stream), block_bytes);
}

std::unique_ptr<BlockSource> make_ahead_blocks(std::unique_ptr<ByteStream> stream, std::size_t block_bytes,
                                               int blocks) {
  return std::make_unique<AheadBlocks>(std::move(stream), block_bytes, blocks);
}

std::unique_ptr<BlockSource> open_blocks(InputFile& file) {
  // Blocks stay in the second-level cache; four of them bridge the moments when one side is slower.
  constexpr std::size_t block_bytes = 256 << 10;
  switch (file.encoding()) {
    case Encoding::gzip:
      return make_ahead_blocks(make_gzip_stream(file), block_bytes, 4);
    case Encoding::zstd:
      return make_ahead_blocks(make_zstd_stream(file), block_bytes, 4);
    default:
      return make_direct_blocks(make_plain_stream(file), block_bytes);
  }
}

std::string read_whole_text(InputFile& file) {
  const auto blocks = open_blocks(file);
  std::string text;
  for (auto block = blocks->next_block(); !block.empty(); block = blocks->next_block())
    text.append(block.data(), block.size());
  return text;
}

}  // namespace lsd::data
