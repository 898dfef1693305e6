// SPDX-License-Identifier: Apache-2.0
#pragma once
// For what may wait for ever on its way out of an error: a file system that does not answer, a terminal that takes
// nothing.

#include <chrono>
#include <functional>

namespace lsd {

// Runs `work` on a thread of its own; false when it has not ended within `limit`. Then it is left to itself, perhaps
// for as long as the process lives: it must own all that it uses, and throw nothing.
bool ends_within(std::chrono::milliseconds limit, std::function<void()> work);

}  // namespace lsd
