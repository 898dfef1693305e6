// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/fasta_header.h"

#include <algorithm>
#include <array>

namespace lsd::data {
namespace {

std::string_view first_word(std::string_view text) {
  const auto begin = std::min(text.find_first_not_of(" \t"), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_first_of(" \t"));
}

// Cuts the first field of a|b|c off `text`.
std::string_view take_field(std::string_view& text) {
  const auto bar = std::min(text.find('|'), text.size());
  const auto field = text.substr(0, bar);
  text.remove_prefix(std::min(bar + 1, text.size()));
  return field;
}

// Data base tags of the NCBI and UniProt whose next field is the accession.
bool is_accession_tag(std::string_view tag) {
  constexpr std::array<std::string_view, 14> tags = {"sp",  "tr",  "ref", "gb",  "emb", "dbj", "lcl",
                                                     "tpg", "tpe", "tpd", "bbs", "pir", "prf", "unk"};
  return std::find(tags.begin(), tags.end(), tag) != tags.end();
}

}  // namespace

std::string_view id_of_header(std::string_view header) {
  const auto word = first_word(header);
  if (word.find('|') == std::string_view::npos) return word;
  auto rest = word;
  auto tag = take_field(rest);
  std::string_view id;
  if (tag == "gi") {
    id = take_field(rest);  // the number, unless an accession follows
    tag = take_field(rest);
  }
  if (is_accession_tag(tag)) {
    const auto accession = take_field(rest);
    if (const auto found = accession.empty() ? take_field(rest) : accession; !found.empty()) id = found;  // pir||A12345
  } else if (tag == "gnl") {
    take_field(rest);
    if (const auto found = take_field(rest); !found.empty()) id = found;
  } else if (tag == "pdb" && !rest.empty()) {
    id = rest;
  }
  return id.empty() ? word : id;
}

}  // namespace lsd::data
