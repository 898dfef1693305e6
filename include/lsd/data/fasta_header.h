// SPDX-License-Identifier: Apache-2.0
#pragma once
// The id in a FASTA header (the text behind '>').
//
//   UniRef50_P12345 name n=.. Tax=.. TaxID=.. RepID=..   UniRef50_P12345
//   sp|P12345|NAME_HUMAN ...   tr|A0A1|A0A1_9CRUS ...    P12345   A0A1
//   XP_001234.1 description                              XP_001234.1
//   gi|123|ref|XP_001234.1| description                  XP_001234.1
//   pdb|1ABC|A                                           1ABC|A
//   anything else                                        its first word

#include <string_view>

namespace lsd::data {

// Empty when the header holds none.
std::string_view id_of_header(std::string_view header);

}  // namespace lsd::data
