// SPDX-License-Identifier: Apache-2.0
#pragma once
// How JSON becomes text in every file and line of this project.

#include <string>

namespace lsd {

// Names of files, ids and messages come from outside and need not be UTF-8, which JSON is by definition (RFC 8259):
// what is not stands as U+FFFD, where the library's own default would throw. `Json` is the library's type: public
// headers name no library. indent -1: all on one line.
template <class Json>
std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lsd
