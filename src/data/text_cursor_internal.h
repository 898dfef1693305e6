// SPDX-License-Identifier: Apache-2.0
#pragma once
// Walks over the blocks of a text, line by line, counting bytes and lines. LF, CR LF and CR each end a line once.

#include <cstdint>
#include <memory>
#include <string_view>

#include "byte_stream_internal.h"
#include "lsd/data/tokenizer.h"

namespace lsd::data {

class TextCursor {
 public:
  TextCursor(std::unique_ptr<BlockSource> blocks, std::uint64_t offset)
      : blocks_(std::move(blocks)), block_offset_(offset) {}

  // True when a byte is left; loads the next block when needed.
  bool available();
  char peek() const { return *at_; }  // after available()
  std::uint64_t offset() const { return block_offset_ + static_cast<std::uint64_t>(at_ - block_begin_); }
  std::int64_t line() const { return line_; }  // of the next byte, from 1
  std::int64_t carriage_returns() const { return carriage_returns_; }
  void skip(std::size_t bytes) { at_ += bytes; }

  // Hands the rest of the line to `use` in one or more pieces and moves behind its end. False when the text ended
  // instead.
  template <class Use>
  bool take_line(Use&& use) {
    while (available()) {
      const char* end = find_line_end(at_, block_end_);
      use(std::string_view(at_, static_cast<std::size_t>(end - at_)));
      at_ = end;
      if (at_ != block_end_) {
        pass_line_end();
        return true;
      }
    }
    return false;
  }

 private:
  void pass_line_end();

  std::unique_ptr<BlockSource> blocks_;
  const char* block_begin_ = nullptr;
  const char* at_ = nullptr;
  const char* block_end_ = nullptr;
  std::uint64_t block_offset_ = 0;
  std::int64_t line_ = 1;
  std::int64_t carriage_returns_ = 0;
};

}  // namespace lsd::data
