// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/optimizer_state.h"

#include "lsd/core/error.h"

namespace lsd::train {

OptimizerState::OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options,
                               BlockSlice slice)
    : backend_(backend), store_(store), options_(options), slice_(slice) {
  constexpr auto kAlignment = nn::ParameterStore::kAlignment;
  check(slice.begin % kAlignment == 0 && slice.count % kAlignment == 0 && slice.begin + slice.count <= store.elements(),
        "an optimizer slice is aligned and lies within the parameter block");
  memory_ = backend.allocate(static_cast<std::size_t>(bytes(slice.count, options.ema)));
  auto* at = static_cast<std::byte*>(memory_.data());
  const auto take = [&](DType type, std::int64_t elements) {
    TensorView view(at, type, Shape{elements}, backend.device());
    if (at) at += view.bytes();
    return view;
  };
  masters_ = take(DType::float32, slice.count);
  first_ = take(DType::float32, slice.count);
  second_ = take(DType::float32, slice.count);
  if (options.ema) ema_ = take(DType::float32, slice.count);
  decay_blocks_ = take(DType::uint8, slice.count / kAlignment);
  if (backend.planning()) return;
  const auto decay = store.decay_blocks();
  backend.copy_to_device(decay_blocks_, decay.data() + slice.begin / kAlignment);
  backend.synchronize();
}

void OptimizerState::initialise(std::span<const float> values) {
  check(static_cast<std::int64_t>(values.size()) == store_.elements(), "initial values cover the parameter block");
  backend_.copy_to_device(masters_, values.data() + slice_.begin);
  backend_.synchronize();
  backend_.pointwise().run(Fill{.y = first_});
  backend_.pointwise().run(Fill{.y = second_});
  if (ema_.present()) backend_.copy_on_device(ema_, masters_);
  load_compute_from(masters_);
}

void OptimizerState::add_squared_norm(TensorView sum) {
  backend_.optimizer().run(SquaredNorm{.x = store_.grad_block().slice(slice_.begin, slice_.count), .sum = sum});
}

void OptimizerState::step(ConstTensorView scalars, ConstTensorView squared_norm) {
  backend_.optimizer().run(AdamW{.grad = store_.grad_block().slice(slice_.begin, slice_.count),
                                 .decay_blocks = decay_blocks_,
                                 .scalars = scalars,
                                 .squared_norm = squared_norm,
                                 .master = masters_,
                                 .first_moment = first_,
                                 .second_moment = second_,
                                 .ema = ema_,
                                 .compute = store_.compute_block().slice(slice_.begin, slice_.count),
                                 .beta1 = static_cast<float>(options_.beta1),
                                 .beta2 = static_cast<float>(options_.beta2),
                                 .epsilon = static_cast<float>(options_.epsilon),
                                 .weight_decay = static_cast<float>(options_.weight_decay)});
}

void OptimizerState::load_compute_from(ConstTensorView values) {
  const auto compute = store_.compute_block().slice(slice_.begin, slice_.count);
  if (compute.dtype() == values.dtype()) {
    if (!backend_.planning()) backend_.copy_on_device(compute, values);
  } else {
    backend_.pointwise().run(Cast{.x = values, .y = compute});
  }
}

}  // namespace lsd::train
