// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where the time of a step goes, by kind of operation. Every operation is waited for, so that what the device does is
// counted where it was asked for; the sum is a little longer than a step that is left alone.

#include <functional>
#include <map>
#include <string>

#include "lsd/tensor/backend.h"

namespace lsd::tasks {

using PartTimes = std::map<std::string, double>;  // milliseconds by part: products, attention, norms, optimizer, ...

PartTimes time_parts(Backend& backend, const std::function<void()>& step);
std::string sentence_of(const PartTimes& parts);  // one line; empty when there are none

}  // namespace lsd::tasks
