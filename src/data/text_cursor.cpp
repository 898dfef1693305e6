// SPDX-License-Identifier: Apache-2.0
#include "text_cursor_internal.h"

namespace lsd::data {

bool TextCursor::available() {
  if (at_ != block_end_) return true;
  block_offset_ += static_cast<std::uint64_t>(block_end_ - block_begin_);
  const auto block = blocks_->next_block();
  block_begin_ = at_ = block.data();
  block_end_ = block_begin_ + block.size();
  return !block.empty();
}

void TextCursor::pass_line_end() {
  const char end = *at_++;
  ++line_;
  if (end != '\r') return;
  ++carriage_returns_;
  if (available() && *at_ == '\n') ++at_;
}

}  // namespace lsd::data
