// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/error.h"

namespace lsd {

Error::Error(ErrorKind kind, std::string message, std::source_location where)
    : kind_(kind), message_(std::move(message)), where_(where) {
  rebuild_text();
}

void Error::add_context(std::string line) {
  context_.push_back(std::move(line));
  rebuild_text();
}

void Error::rebuild_text() {
  text_ = message_;
  for (const auto& line : context_) text_ += "\n  " + line;
  if (kind_ == ErrorKind::internal)
    text_ += std::string("\n  internal error at ") + where_.file_name() + ":" + std::to_string(where_.line()) +
             "; please report it";
}

void check(bool condition, std::string_view promise, std::source_location where) {
  if (!condition) throw InternalError(std::string(promise), where);
}

}  // namespace lsd
