// SPDX-License-Identifier: Apache-2.0
#pragma once
// Builds a part of a model and notes which elements of the parameter block it registered.

#include "lsd/nn/transformer_stack.h"

namespace lsd::models {

template <class Make>
auto ranged(nn::ParameterStore& store, nn::ParameterRange& range, Make&& make) {
  range.begin = store.elements();
  auto part = make();
  range.end = store.elements();
  return part;
}

}  // namespace lsd::models
