// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text from outside: what no id may hold, and how a message shows it.

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace lsd::data {

inline bool has_control_byte(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char byte) {
    const auto value = static_cast<unsigned char>(byte);
    return value < 0x20 || value == 0x7F;
  });
}

// The start of a line, on one line of printable ASCII.
inline std::string excerpt(std::string_view text, std::size_t most = 40) {
  std::string shown;
  for (const char byte : text.substr(0, most)) {
    const auto value = static_cast<unsigned char>(byte);
    shown += value >= 0x20 && value < 0x7F ? std::string(1, byte) : fmt::format("\\x{:02X}", value);
  }
  return shown + (text.size() > most ? "..." : "");
}

}  // namespace lsd::data
