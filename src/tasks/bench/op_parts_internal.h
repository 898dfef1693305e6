// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where the time of a step goes, by kind of operation: from events in the order of the device's work, on a CPU from its
// clock. Nothing is waited for inside the step.

#include <functional>
#include <map>
#include <string>

#include "lsd/tensor/backend.h"

namespace lsd::tasks {

using PartTimes = std::map<std::string, double>;  // milliseconds by part: products, attention, norms, optimizer, ...

PartTimes time_parts(Backend& backend, const std::function<void()>& step);
std::string sentence_of(const PartTimes& parts);  // one line; empty when there are none

}  // namespace lsd::tasks
