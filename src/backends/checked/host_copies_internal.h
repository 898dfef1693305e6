// SPDX-License-Identifier: Apache-2.0
#pragma once
// Copies of an op's operands in host memory, for a second run of it on the reference, and the comparison afterwards.
// Operands that share memory share their copy too.

#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "lsd/tensor/backend.h"

namespace lsd::backends::checked {

class HostCopies {
 public:
  HostCopies(Backend& from, Backend& host) : from_(from), host_(host) {}

  // For visit_operands: each view becomes one of its copy.
  template <class View>
  void in(const char*, View& view) {
    view = copy_of(view);
  }
  void out(const char* name, TensorView& view);

  // Throws InternalError where what stands in the operands now and in their copies differs by more than rounding.
  void compare(std::string_view op) const;

 private:
  struct Output {
    const char* name;
    TensorView original, expected;
  };

  TensorView copy_of(ConstTensorView view);

  Backend &from_, &host_;
  std::map<std::pair<const void*, std::int64_t>, DeviceMemory> copies_;
  std::vector<Output> outputs_;
};

}  // namespace lsd::backends::checked
