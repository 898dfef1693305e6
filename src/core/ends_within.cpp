// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/ends_within.h"

#include <future>
#include <thread>
#include <utility>

namespace lsd {

bool ends_within(std::chrono::milliseconds limit, std::function<void()> work) {
  std::packaged_task<void()> task(std::move(work));
  const auto ended = task.get_future();  // of a promise: unlike that of std::async, it does not wait when it goes
  std::thread(std::move(task)).detach();
  return ended.wait_for(limit) == std::future_status::ready;
}

}  // namespace lsd
