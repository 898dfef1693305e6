// SPDX-License-Identifier: Apache-2.0
#pragma once
// From an attention op to the Problem its kernels work on, and the choice of kernel by head width. Host code without
// CUDA.

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>

#include "attention_float32_internal.h"
#include "attention_forward_internal.h"
#include "lsd/core/error.h"
#include "lsd/tensor/attention_ops.h"

namespace lsd::backends::cuda::attention {

template <int kValue>
struct Number {
  static constexpr int value = kValue;
};

// Calls body(Number<W>{}) with the smallest W of 16, 32, 64, 128 that holds the head width; columns behind it are zero.
template <class Body>
decltype(auto) visit_head_width(std::int64_t head_width, Body&& body) {
  if (head_width > kMaxHeadWidth)
    throw UserError("heads of " + std::to_string(head_width) + " columns: the cuda backend's attention has up to " +
                    std::to_string(kMaxHeadWidth) + "; use more heads, or the cpu backend");
  if (head_width <= 16) return body(Number<16>{});
  if (head_width <= 32) return body(Number<32>{});
  if (head_width <= 64) return body(Number<64>{});
  return body(Number<128>{});
}

inline int forward_tile_rows(DType type, std::int64_t head_width) {
  return visit_head_width(head_width, [&](auto width) {
    return type == DType::bfloat16 ? ForwardShape<width.value>::kRows : PlainShape<width.value>::kRows;
  });
}

inline int backward_tile_rows(DType type, std::int64_t head_width) {
  return visit_head_width(head_width, [&](auto width) {
    using Keys = BackwardShape<width.value, Owner::keys>;
    static_assert(Keys::kRows == BackwardShape<width.value, Owner::queries>::kRows, "one list of tiles serves both");
    return type == DType::bfloat16 ? Keys::kRows : PlainShape<width.value>::kRows;
  });
}

inline ScratchPlan scratch_plan(ConstTensorView qkv, const PackedLayout& layout, int heads, bool backward) {
  const auto width = qkv.shape()[1] / 3, head_width = width / heads;
  const int tile_rows =
      backward ? backward_tile_rows(qkv.dtype(), head_width) : forward_tile_rows(qkv.dtype(), head_width);
  return ScratchPlan(qkv.shape()[0], width, heads, layout.max_sequences(), tile_rows, size_of(qkv.dtype()), backward);
}

// What forward and backward share. `scratch` has the size of the plan.
template <class T>
Problem<T> make_problem(ConstTensorView qkv, const PackedLayout& layout, int heads, const Rotary& rotary, bool backward,
                        void* scratch) {
  const auto rows = qkv.shape()[0], width = qkv.shape()[1] / 3, head_width = width / heads;
  check(rows * width < (std::int64_t{1} << 31), "attention's rows x width fits 31 bits");
  const auto plan = scratch_plan(qkv, layout, heads, backward);
  auto* bytes = static_cast<std::byte*>(scratch);
  Problem<T> p;
  p.offsets = layout.offsets.data<std::int32_t>();
  p.row_position = layout.row_position.data<std::int32_t>();
  p.order = layout.sequence_order.data<std::int32_t>();
  p.rows = static_cast<std::int32_t>(rows);
  p.max_sequences = static_cast<std::int32_t>(layout.max_sequences());
  p.heads = heads;
  p.head_width = static_cast<std::int32_t>(head_width);
  p.tile_rows = backward ? backward_tile_rows(qkv.dtype(), head_width) : forward_tile_rows(qkv.dtype(), head_width);
  p.qkv = qkv.data<T>();
  p.counters = reinterpret_cast<Counters*>(bytes + plan.counters);
  p.tiles = reinterpret_cast<Tile*>(bytes + plan.tiles);
  p.rotated = reinterpret_cast<T*>(bytes + plan.rotated);
  p.delta = reinterpret_cast<float*>(bytes + plan.delta);
  p.score_scale = 1.0F / std::sqrt(static_cast<float>(head_width));
  for (std::int64_t i = 0; i < head_width / 2; ++i)
    p.turns[i] = rotary.frequency(i, head_width) / (2.0 * std::numbers::pi);
  return p;
}

inline bool aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

template <class T>
Problem<T> make_problem(const AttentionForward& op, void* scratch) {
  auto p = make_problem<T>(op.qkv, op.layout, op.heads, op.rotary, false, scratch);
  p.out = op.out.data<T>();
  p.log_sum_exp = op.log_sum_exp.present() ? op.log_sum_exp.data<float>() : nullptr;
  p.wide = p.head_width % 8 == 0 && aligned(p.qkv) && aligned(p.out);
  return p;
}

template <class T>
Problem<T> make_problem(const AttentionBackward& op, void* scratch) {
  auto p = make_problem<T>(op.qkv, op.layout, op.heads, op.rotary, true, scratch);
  p.out = const_cast<T*>(op.out.data<T>());  // backward reads it
  p.log_sum_exp = const_cast<float*>(op.log_sum_exp.data<float>());
  p.grad_out = op.grad_out.data<T>();
  p.grad_qkv = op.grad_qkv.data<T>();
  p.wide = p.head_width % 8 == 0 && aligned(p.qkv) && aligned(p.out) && aligned(p.grad_out) && aligned(p.grad_qkv);
  return p;
}

}  // namespace lsd::backends::cuda::attention
