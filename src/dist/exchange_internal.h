// SPDX-License-Identifier: Apache-2.0
#pragma once
// Collectives of varying sizes, from exchange() of known sizes: first the sizes, then the bytes.

#include <vector>

#include "lsd/dist/host_communicator.h"

namespace lsd::dist {

using ConstBytes = std::span<const std::byte>;
using Bytes = std::span<std::byte>;

std::vector<std::vector<std::byte>> all_to_all_by_exchange(HostCommunicator& ranks,
                                                           const std::vector<std::vector<std::byte>>& to_rank);
std::vector<std::vector<std::byte>> all_gather_by_exchange(HostCommunicator& ranks, ConstBytes bytes);

}  // namespace lsd::dist
