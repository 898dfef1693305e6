// SPDX-License-Identifier: Apache-2.0
#include "together_internal.h"

namespace lsd::tasks::sharding {
namespace {

[[noreturn]] void throw_kind(ErrorKind kind, std::string text) {
  switch (kind) {
    case ErrorKind::user:
      throw UserError(std::move(text));
    case ErrorKind::data:
      throw DataError(std::move(text));
    case ErrorKind::system:
      throw SystemError(std::move(text));
    case ErrorKind::peer:
      throw PeerLostError(std::move(text));
    default:
      throw InternalError(std::move(text));
  }
}

}  // namespace

void throw_first_failure(dist::HostCommunicator& ranks, const std::optional<Error>& mine) {
  std::string message;
  if (mine) message = static_cast<char>('0' + static_cast<int>(mine->kind())) + std::string(mine->what());
  const auto all = ranks.all_gather(std::as_bytes(std::span(message)));
  for (const auto& bytes : all) {
    if (bytes.empty()) continue;
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    throw_kind(static_cast<ErrorKind>(text[0] - '0'), text.substr(1));
  }
}

}  // namespace lsd::tasks::sharding
