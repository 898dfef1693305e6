// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/optimizer_state.h"

#include <algorithm>

#include "lsd/core/error.h"

namespace lsd::train {
namespace {

constexpr auto kAlignment = nn::ParameterStore::kAlignment;

// Bits that are moved and never added: collectives know float32 alone.
TensorView as_float32(TensorView values) {
  return {values.raw(), DType::float32, Shape{values.bytes() / size_of(DType::float32)}, values.device()};
}

}  // namespace

OptimizerState::OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options)
    : OptimizerState(backend, store, options, BlockLayout(store.elements(), 1, 0), false, nullptr) {}

OptimizerState::OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options,
                               const BlockLayout& layout, dist::TensorCollectives* collectives)
    : OptimizerState(backend, store, options, layout, layout.ranks() > 1, collectives) {}

OptimizerState::OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options,
                               const BlockLayout& layout, bool sharded, dist::TensorCollectives* collectives)
    : backend_(backend),
      store_(store),
      options_(options),
      layout_(layout),
      sharded_(sharded),
      collectives_(collectives),
      kept_(sharded ? layout.kept_by(layout.rank()) : std::vector<BlockSlice>{{0, store.elements()}}) {
  check(layout.elements() == store.elements(), "the layout is that of the parameter block");
  check(!sharded || collectives != nullptr || backend.planning(), "slices are exchanged by collectives");
  const auto elements = elements_of(kept_);
  memory_ = backend.allocate(static_cast<std::size_t>(bytes(elements, options.ema)));
  auto* at = static_cast<std::byte*>(memory_.data());
  const auto take = [&](DType type, std::int64_t count) {
    TensorView view(at, type, Shape{count}, backend.device());
    if (at) at += view.bytes();
    return view;
  };
  masters_ = take(DType::float32, elements);
  first_ = take(DType::float32, elements);
  second_ = take(DType::float32, elements);
  if (options.ema) ema_ = take(DType::float32, elements);
  decay_blocks_ = take(DType::uint8, elements / kAlignment);
  if (!backend.planning()) load_decay_blocks();
}

void OptimizerState::load_decay_blocks() {
  const auto all = store_.decay_blocks();
  std::vector<std::uint8_t> mine;
  for (const auto& slice : kept_)
    mine.insert(mine.end(), all.begin() + slice.begin / kAlignment, all.begin() + slice.end() / kAlignment);
  backend_.copy_to_device(decay_blocks_, mine.data());
  backend_.synchronize();
}

void OptimizerState::load(TensorView local, std::span<const float> whole) {
  check(static_cast<std::int64_t>(whole.size()) == store_.elements(), "values cover the parameter block");
  std::int64_t at = 0;
  for (const auto& slice : kept_) {
    backend_.copy_to_device(local.slice(at, slice.count), whole.data() + slice.begin);
    at += slice.count;
  }
  backend_.synchronize();
}

void OptimizerState::initialise(std::span<const float> values) {
  load(masters_, values);
  backend_.pointwise().run(Fill{.y = first_});
  backend_.pointwise().run(Fill{.y = second_});
  if (ema_.present()) backend_.copy_on_device(ema_, masters_);
  load_compute_from(masters_);
}

void OptimizerState::gather(dist::HostCommunicator& ranks, ConstTensorView local, std::vector<float>& whole) const {
  if (!sharded_ && !ranks.is_root()) return;
  std::vector<float> slices;
  auto& mine = sharded_ ? slices : whole;
  mine.resize(static_cast<std::size_t>(local.elements()));
  backend_.copy_to_host(mine.data(), local);
  backend_.synchronize();
  if (!sharded_) return;
  const auto size = static_cast<std::size_t>(ranks.size());
  std::vector<std::vector<float>> parts(ranks.is_root() ? size : 0);
  std::vector<std::span<const std::byte>> to(size);
  std::vector<std::span<std::byte>> from(size);
  if (ranks.rank() > 0) to[0] = std::as_bytes(std::span(mine));
  for (std::size_t rank = 1; rank < parts.size(); ++rank) {
    parts[rank].resize(static_cast<std::size_t>(elements_of(layout_.kept_by(static_cast<int>(rank)))));
    from[rank] = std::as_writable_bytes(std::span(parts[rank]));
  }
  ranks.exchange(to, from);
  if (!ranks.is_root()) return;
  parts[0] = std::move(mine);
  whole.resize(static_cast<std::size_t>(store_.elements()));
  for (std::size_t rank = 0; rank < size; ++rank) {
    auto at = parts[rank].cbegin();
    for (const auto& slice : layout_.kept_by(static_cast<int>(rank))) {
      std::copy_n(at, slice.count, whole.begin() + slice.begin);
      at += slice.count;
    }
  }
}

void OptimizerState::step_slice(BlockSlice slice, std::int64_t at, ConstTensorView scalars,
                                ConstTensorView squared_norm) {
  const auto local = [&](TensorView block) { return block.present() ? block.slice(at, slice.count) : block; };
  backend_.optimizer().run(AdamW{.grad = store_.grad_block().slice(slice.begin, slice.count),
                                 .decay_blocks = decay_blocks_.slice(at / kAlignment, slice.count / kAlignment),
                                 .scalars = scalars,
                                 .squared_norm = squared_norm,
                                 .master = local(masters_),
                                 .first_moment = local(first_),
                                 .second_moment = local(second_),
                                 .ema = local(ema_),
                                 .compute = store_.compute_block().slice(slice.begin, slice.count),
                                 .beta1 = static_cast<float>(options_.beta1),
                                 .beta2 = static_cast<float>(options_.beta2),
                                 .epsilon = static_cast<float>(options_.epsilon),
                                 .weight_decay = static_cast<float>(options_.weight_decay)});
}

void OptimizerState::step(ConstTensorView scalars, ConstTensorView squared_norm) {
  std::int64_t at = 0;
  for (std::size_t index = 0; index < kept_.size(); ++index) {
    step_slice(kept_[index], at, scalars, squared_norm);
    exchange_compute(index);
    at += kept_[index].count;
  }
  finish_exchange();
}

void OptimizerState::load_compute_from(ConstTensorView local) {
  std::int64_t at = 0;
  for (std::size_t index = 0; index < kept_.size(); ++index) {
    const auto& slice = kept_[index];
    const auto values = local.slice(at, slice.count);
    const auto compute = store_.compute_block().slice(slice.begin, slice.count);
    if (compute.dtype() != values.dtype())
      backend_.pointwise().run(Cast{.x = values, .y = compute});
    else if (!backend_.planning())
      backend_.copy_on_device(compute, values);
    exchange_compute(index);
    at += slice.count;
  }
  finish_exchange();
}

// The slice behind the last bucket's is the rest, which every rank has computed.
void OptimizerState::exchange_compute(std::size_t bucket) {
  if (!sharded_ || backend_.planning() || bucket >= layout_.buckets().size()) return;
  const auto view = [&](BlockSlice slice) {
    return as_float32(store_.compute_block().slice(slice.begin, slice.count));
  };
  tickets_.push_back(collectives_->all_gather(view(kept_[bucket]), view(layout_.buckets()[bucket])));
}

void OptimizerState::finish_exchange() {
  for (const auto ticket : tickets_) collectives_->wait(ticket);
  tickets_.clear();
}

void add_squared_norm(Backend& backend, ConstTensorView gradients, const BlockLayout& layout, TensorView sum) {
  for (const auto& slice : layout.counted_by(layout.rank()))
    backend.optimizer().run(SquaredNorm{.x = gradients.slice(slice.begin, slice.count), .sum = sum});
}

}  // namespace lsd::train
