// SPDX-License-Identifier: Apache-2.0
#pragma once
// Steps of a set-up that either all ranks get through or none does.

#include <functional>

#include "lsd/dist/host_communicator.h"

namespace lsd::dist {

// Collective. Runs `body` on every rank; when it throws on any, all ranks throw that error, the one of the lowest rank
// where there are several. `body` may use collectives only where all ranks behave alike.
void all_or_none(HostCommunicator& ranks, const std::function<void()>& body);

}  // namespace lsd::dist
