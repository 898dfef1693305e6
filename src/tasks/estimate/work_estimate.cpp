// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "work_estimate_internal.h"

namespace lsd::tasks {

std::string WorkEstimate::sizes() const {
  return fmt::format("estimate: {} of memory on a rank ({}); {} of disk; {} {} on the rank with the most",
                     human_bytes(memory_bytes), memory_of, human_bytes(disk_bytes), human_count(work), unit);
}

std::string WorkEstimate::time(double done, double seconds) const {
  const double rate = done / seconds;
  return fmt::format("estimate: {}{} in all, at the {} {}/s that the first {} showed on rank 0",
                     time_of.empty() ? "" : time_of + ", ", human_duration(work / rate), human_count(rate), unit,
                     human_duration(seconds));
}

void TimeTeller::update(double done) {
  if (told_ || done <= 0.0 || estimate_.work <= 0.0) return;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  if (passed.count() < least_seconds_ || passed.count() <= 0.0) return;
  told_ = true;
  log_.info(estimate_.time(done, passed.count()));
}

}  // namespace lsd::tasks
