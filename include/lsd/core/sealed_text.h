// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON texts that guard themselves: the first entry of the outermost object is `checksum`, the XXH3-64 of the text with
// that checksum's 16 digits replaced by 0. Whoever changes a byte, by hand or by accident, is found out.

#include <string>
#include <string_view>

namespace lsd {

inline constexpr std::string_view kNoSeal = "0000000000000000";  // what `checksum` holds before seal_text

enum class Seal {
  intact,
  broken,
  absent,  // the text does not begin with a checksum: it was written by a program that knew no seals
};

// `text` begins with an object whose first entry is checksum = kNoSeal, in any indentation.
std::string seal_text(std::string text);
Seal seal_of(const std::string& text);
// Throws DataError when the seal is broken; a text without one passes.
void require_intact_seal(const std::string& text);

}  // namespace lsd
