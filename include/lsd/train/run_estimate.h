// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a training will take, told before it begins: memory, disk, operations, and time where a rate is known.

#include <cstddef>
#include <cstdint>
#include <string>

namespace lsd::train {

struct RunEstimate {
  std::int64_t parameters = 0;
  std::int64_t frozen_parameters = 0;  // of models that only run forward
  std::int64_t steps_left = 0;
  std::int64_t tokens_per_step = 0;  // capacity of all micro-batches
  std::int64_t ranks = 1;
  std::int64_t checkpoints_kept = 1;
  bool ema = false;
  std::size_t memory_bytes = 0;  // of one rank

  // Multiplications and additions: 6 per trained parameter and token (forward, and twice that backward), 2 per frozen
  // one; attention's own products, which grow with the lengths, are left out.
  double operations() const;
  // Weights and two moments in float32, and the moving average.
  double checkpoint_bytes() const;
  double disk_bytes() const;  // of one checkpoint more than are kept, while it is written
  // One line each; `tflops` is what one rank sustains in 10^12 operations/s, 0 when nobody knows.
  std::string text(double tflops) const;
};

// From the environment's LSD_TFLOPS (the site file sets it); 0 when it is not set. Throws UserError when it is no
// number.
double expected_tflops();

}  // namespace lsd::train
