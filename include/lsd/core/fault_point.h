// SPDX-License-Identifier: Apache-2.0
#pragma once
// Places where tests break the program on purpose. A point does nothing, at the price of one relaxed atomic load,
// unless the environment's LSD_FAULT names it:
//
//   LSD_FAULT=name[#nth][@rank]=action[,...]      nth counts from 1 (default); without @rank on every rank
//
//   kill     SIGKILL to this process: nothing is flushed, nobody is told
//   exit     the process ends at once with code 1, without a word
//   stall    this thread never goes on; the process lives
//   stop     SIGSTOP to this process: it stands still until somebody sends SIGCONT
//   throw    SystemError naming the point
//   enospc   SystemError as of a write to a full disk
//   poison   poison_point() says true: the caller spoils its data
//
// Points may be reached by any thread. Which faults are armed belongs to the process, as the environment does.

#include <atomic>
#include <stdexcept>
#include <string_view>

#include "lsd/core/fault_names.h"

namespace lsd {

// A name of kFaultNames, checked by the compiler.
class FaultName {
 public:
  consteval FaultName(const char* text) : text_(text) {  // NOLINT(google-explicit-constructor): reads as a string
    if (!is_fault_name(text_)) throw std::invalid_argument("not in kFaultNames");
  }
  std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

// Arms the faults of `specification` for this process, which is `rank` of its job; an empty one disarms. Call it while
// no other thread can reach a point. Throws UserError on an unknown name or action, with those that exist.
void arm_faults(std::string_view specification, int rank);

namespace detail {
extern std::atomic<bool> faults_armed;
bool reach_fault_point(std::string_view name);
}  // namespace detail

inline void fault_point(FaultName name) {
  if (detail::faults_armed.load(std::memory_order_relaxed)) [[unlikely]]
    detail::reach_fault_point(name.text());
}

// The same; true when the action is poison.
inline bool poison_point(FaultName name) {
  return detail::faults_armed.load(std::memory_order_relaxed) && detail::reach_fault_point(name.text());
}

}  // namespace lsd
