// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every family of operations shares. An operation is a struct of views; a family is an abstract class with one
// public run(op) per struct, which checks shapes and types once for all backends, then calls the private launch(op).
// While planning, run() adds up scratch and launches nothing, so a config's memory is known without a device.

#include <cstddef>
#include <functional>
#include <string_view>

namespace lsd {

// State that the families of one backend share; owned by the backend.
struct OpContext {
  bool planning = false;
  std::size_t scratch_peak_bytes = 0;  // largest scratch any op asked for while planning
  void* scratch = nullptr;             // scratch_bytes of memory on the backend's device
  std::size_t scratch_bytes = 0;
  std::function<void(std::string_view)> begin_range;  // profiler hooks around each launch; empty when not profiling
  std::function<void(std::string_view)> end_range;

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
  void submit(std::string_view name, std::size_t scratch_bytes, Launch&& launch) {
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
