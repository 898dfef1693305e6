// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tells the steps that must not be learnt from: no finite loss or gradient, or one far above those of the steps before.
// "Far" is counted in spreads (z-scores) over a window of steps that were good:
//   loss      (loss - mean) / max(standard deviation, 2 % of the mean)
//   gradient  the same for the logarithm of its norm, with a spread of at least 0.1: norms scatter by factors
// Both floors keep a very steady course from calling small changes spikes. Nothing but what is not finite is a spike
// before the window is full. Every rank judges the same reduced numbers, so all come to the same verdict.

#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

namespace lsd::train {

struct GuardOptions {
  std::int64_t window = 128;  // steps
  double loss_z = 8.0;        // 0: spikes of the loss are not looked for
  double gradient_z = 8.0;
};

enum class Verdict : std::uint8_t { good, not_finite, loss_spike, gradient_spike };
std::string_view text_of(Verdict verdict);  // "the gradient or loss was not finite", ...

class StepGuard {
 public:
  explicit StepGuard(GuardOptions options) : options_(options) {}

  struct Judgement {
    Verdict verdict = Verdict::good;
    double loss_z = 0.0, gradient_z = 0.0;  // 0 before the window is full
  };
  // A good step enters the window, any other leaves no trace.
  Judgement judge(double loss, double gradient_norm);

  // Empties the window: the course has changed for good, and what comes is judged by itself.
  void forget();

  // The window, oldest first: losses, then logarithms of the norms.
  std::vector<double> state() const;
  void set_state(std::span<const double> state);  // the newest steps of it, when it is longer than the window

 private:
  GuardOptions options_;
  std::deque<double> losses_, log_norms_;
};

}  // namespace lsd::train
