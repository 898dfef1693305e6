// SPDX-License-Identifier: Apache-2.0
#include "agreement_internal.h"

#include <algorithm>
#include <optional>

#include "lsd/core/error.h"

namespace lsd::dist {

void all_or_none(HostCommunicator& ranks, const std::function<void()>& body) {
  std::string problem;  // the kind as a digit, then the message
  try {
    body();
  } catch (const Error& error) {
    problem = std::to_string(static_cast<int>(error.kind())) + error.what();
  } catch (const std::exception& error) {
    problem = std::to_string(static_cast<int>(ErrorKind::system)) + error.what();
  }
  const auto problems = ranks.all_gather(std::as_bytes(std::span(problem)));
  const auto first = std::ranges::find_if(problems, [](const auto& bytes) { return !bytes.empty(); });
  if (first == problems.end()) return;
  const auto* text = reinterpret_cast<const char*>(first->data());
  throw Error(static_cast<ErrorKind>(*text - '0'), std::string(text + 1, first->size() - 1));
}

}  // namespace lsd::dist
