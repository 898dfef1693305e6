// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every family of operations shares. An operation is a struct of views; a family is an abstract class with one
// public run(op) per struct, which checks shapes and types once for all backends, then calls the private launch(op).
// While planning, run() adds up scratch and launches nothing, so a config's memory is known without a device.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace lsd {

// Arithmetic of one op's matrix products, as far as its shapes say it: 2 rows in out for a linear layer. What attention
// does depends on lengths that stand in device memory: per_squared_length times the sum over sequences of length^2,
// with 4 width forward (scores and their mixture of v) and 10 width backward (scores again, and four gradients).
struct OpWork {
  std::int64_t rows = 0, in = 0, out = 0;
  double per_squared_length = 0.0;

  double operations(double squared_lengths) const {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out) +
           per_squared_length * squared_lengths;
  }
};

// State that the families of one backend share; owned by the backend.
struct OpContext {
  bool planning = false;
  std::size_t scratch_peak_bytes = 0;  // largest scratch any op asked for while planning
  void* scratch = nullptr;             // scratch_bytes of memory on the backend's device
  std::size_t scratch_bytes = 0;
  std::function<void(std::string_view)> begin_range;  // profiler hooks around each launch; empty when not profiling
  std::function<void(std::string_view)> end_range;
  std::function<void(std::string_view, const OpWork&)> count_work;  // hears of every op, while planning too; or empty
  std::int64_t allocations = 0;                                     // by allocate(), while not planning

  // Throws InternalError (an op that declared too little scratch) unless `bytes` fit.
  void* scratch_for(std::string_view op, std::size_t bytes) const;
};

class OpFamily {
 public:
  explicit OpFamily(OpContext& context) : context_(context) {}
  virtual ~OpFamily() = default;
  OpFamily(const OpFamily&) = delete;
  OpFamily& operator=(const OpFamily&) = delete;

 protected:
  template <class Launch>
  void submit(std::string_view name, std::size_t scratch_bytes, Launch&& launch, const OpWork& work = {}) {
    if (context_.count_work) context_.count_work(name, work);
    if (context_.planning) {
      if (scratch_bytes > context_.scratch_peak_bytes) context_.scratch_peak_bytes = scratch_bytes;
      return;
    }
    if (context_.begin_range) context_.begin_range(name);
    launch();
    if (context_.end_range) context_.end_range(name);
  }
  OpContext& context() const { return context_; }

 private:
  OpContext& context_;
};

}  // namespace lsd
