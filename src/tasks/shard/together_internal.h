// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "lsd/core/error.h"
#include "lsd/dist/host_communicator.h"

namespace lsd::tasks::sharding {

// Every rank's failure, or none; throws the same error on all ranks when there is one.
void throw_first_failure(dist::HostCommunicator& ranks, const std::optional<Error>& mine);

template <class Body>
void together(dist::HostCommunicator& ranks, Body&& body) {
  std::optional<Error> failure;
  try {
    body();
  } catch (const Error& error) {
    failure = error;
  } catch (const std::exception& error) {
    failure = SystemError(error.what());
  }
  throw_first_failure(ranks, failure);
}

}  // namespace lsd::tasks::sharding
