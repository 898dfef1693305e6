// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/sealed_text.h"

#include <optional>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace lsd {
namespace {

// Where the digits stand; nullopt when the text does not begin with a checksum.
std::optional<std::size_t> digits_at(const std::string& text) {
  constexpr std::string_view kKey = "\"checksum\": \"";
  const auto key = text.find_first_not_of(" \n", 1);
  if (!text.starts_with('{') || key == std::string::npos || text.compare(key, kKey.size(), kKey) != 0)
    return std::nullopt;
  const auto digits = key + kKey.size();
  if (text.size() < digits + kNoSeal.size() + 1 || text[digits + kNoSeal.size()] != '"') return std::nullopt;
  return digits;
}

std::string checksum_without(std::string text, std::size_t digits) {
  text.replace(digits, kNoSeal.size(), kNoSeal);
  return checksum_hex(checksum64(text));
}

}  // namespace

std::string seal_text(std::string text) {
  const auto digits = digits_at(text);
  check(digits && text.compare(*digits, kNoSeal.size(), kNoSeal) == 0, "a text is sealed once, at its first entry");
  text.replace(*digits, kNoSeal.size(), checksum_without(text, *digits));
  return text;
}

Seal seal_of(const std::string& text) {
  const auto digits = digits_at(text);
  if (!digits) return Seal::absent;
  return text.compare(*digits, kNoSeal.size(), checksum_without(text, *digits)) == 0 ? Seal::intact : Seal::broken;
}

void require_intact_seal(const std::string& text) {
  if (seal_of(text) != Seal::broken) return;
  throw DataError(
      "its text does not fit the checksum at its beginning: it was edited or is damaged; "
      "restore the file from a copy, or make it again");
}

}  // namespace lsd
