// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "cpu_internal.h"
#include "lsd/core/error.h"

namespace lsd::backends::cpu {
namespace {

// cos and sin of position * frequency. Made in double and kept, as every layer of every step asks for
// the same ones; it grows, at first use, to the longest sequence a run may meet.
class RotaryTable {
 public:
  void prepare(const Rotary& rotary, std::int64_t head_width, std::int64_t positions) {
    if (rotary == rotary_ && head_width == head_width_ && positions <= positions_) return;
    rotary_ = rotary;
    head_width_ = head_width;
    positions_ = positions;
    const auto half = head_width / 2;
    cosine_.resize(static_cast<std::size_t>(positions * half));
    sine_.resize(cosine_.size());
    for (std::int64_t i = 0; i < half; ++i) {
      const double frequency = rotary.frequency(i, head_width);
      for (std::int64_t p = 0; p < positions; ++p) {
        const auto at = static_cast<std::size_t>(p * half + i);
        cosine_[at] = static_cast<float>(std::cos(static_cast<double>(p) * frequency));
        sine_[at] = static_cast<float>(std::sin(static_cast<double>(p) * frequency));
      }
    }
  }
  const float* cosine() const { return cosine_.data(); }
  const float* sine() const { return sine_.data(); }

 private:
  Rotary rotary_;
  std::int64_t head_width_ = 0, positions_ = 0;
  std::vector<float> cosine_, sine_;
};

class CpuAttentionOps : public AttentionOps {
 public:
  explicit CpuAttentionOps(const Setup& setup) : AttentionOps(setup.context), setup_(setup) {}

 private:
  // Float32 images of a bfloat16 head: q k v out forward; q k v out grad_out and three gradients backward.
  static constexpr std::int64_t kForwardImages = 4, kBackwardImages = 8;

  std::int64_t thread_floats(ConstTensorView qkv, const PackedLayout& layout, int heads, bool backward) const {
    const auto head_width = qkv.shape()[1] / 3 / heads;
    const auto images = qkv.dtype() == DType::float32 ? 0 : (backward ? kBackwardImages : kForwardImages);
    return ceil_div(setup_.kernels.attention_scratch(layout.max_length, head_width, backward) +
                        images * layout.max_length * head_width,
                    16) *
           16;
  }
  std::size_t scratch_bytes(const AttentionForward& op) const override {
    return static_cast<std::size_t>(setup_.threads * thread_floats(op.qkv, op.layout, op.heads, false)) * sizeof(float);
  }
  std::size_t scratch_bytes(const AttentionBackward& op) const override {
    return static_cast<std::size_t>(setup_.threads * thread_floats(op.qkv, op.layout, op.heads, true)) * sizeof(float);
  }

  void launch(const AttentionForward& op) override;
  void launch(const AttentionBackward& op) override;
  void prepare(ConstTensorView qkv, const PackedLayout& layout, int heads, const Rotary& rotary);
  void zero_dead_rows(const PackedLayout& layout, TensorView view) const;
  // Calls body(place, head, images) for all heads of all sequences, longest sequence first; `head` has what both
  // directions give their kernel. It reads and writes float32 where it is, bfloat16 through `images`, of which q k v
  // are filled.
  template <class Op, class Body>
  void for_each_head(const Op& op, bool backward, void* scratch, Body&& body) const;

  Setup setup_;
  RotaryTable rotary_table_;
};

void CpuAttentionOps::prepare(ConstTensorView qkv, const PackedLayout& layout, int heads, const Rotary& rotary) {
  const auto* offsets = layout.offsets.data<std::int32_t>();
  std::int64_t longest = 0, last_position = 0;
  for (std::int64_t s = 0; s < layout.max_sequences(); ++s)
    longest = std::max<std::int64_t>(longest, offsets[s + 1] - offsets[s]);
  for (const auto position : layout.row_position.span<std::int32_t>())
    last_position = std::max<std::int64_t>(last_position, position);
  if (longest > layout.max_length || last_position >= layout.max_length)
    throw InternalError("attention: a sequence of " + std::to_string(std::max(longest, last_position + 1)) +
                        " rows is longer than the layout's max_length of " + std::to_string(layout.max_length));
  rotary_table_.prepare(rotary, qkv.shape()[1] / 3 / heads, layout.max_length);
}

void CpuAttentionOps::zero_dead_rows(const PackedLayout& layout, TensorView view) const {
  const auto used = layout.offsets.data<std::int32_t>()[layout.max_sequences()],
             columns = static_cast<std::int32_t>(view.shape()[1]);
  auto* bytes = static_cast<std::byte*>(view.raw());
  const auto row_bytes = columns * size_of(view.dtype());
  std::fill(bytes + used * row_bytes, bytes + view.bytes(), std::byte{0});
}

// [length, head_width] pieces of packed tensors that belong to one head of one sequence.
struct HeadPlace {
  std::int64_t index, first, length, width, head_width;

  std::int64_t out_begin() const { return first * width + index * head_width; }
  std::int64_t part_begin(std::int64_t part) const { return first * 3 * width + part * width + index * head_width; }
  std::int64_t elements() const { return length * head_width; }

  // Copy the piece at `begin` of a tensor with `columns` columns into or out of a dense float32 image.
  void read(ConstTensorView view, std::int64_t begin, std::int64_t columns, const Kernels& kernels,
            float* image) const {
    const auto* from = static_cast<const std::uint16_t*>(view.raw());
    for (std::int64_t r = 0; r < length; ++r)
      kernels.widen(from + begin + r * columns, image + r * head_width, head_width);
  }
  void write(TensorView view, std::int64_t begin, std::int64_t columns, const Kernels& kernels,
             const float* image) const {
    auto* to = static_cast<std::uint16_t*>(view.raw());
    for (std::int64_t r = 0; r < length; ++r)
      kernels.narrow(image + r * head_width, to + begin + r * columns, head_width);
  }
};

template <class Op, class Body>
void CpuAttentionOps::for_each_head(const Op& op, bool backward, void* scratch, Body&& body) const {
  const auto rows = op.out.shape()[0], width = op.out.shape()[1], head_width = width / op.heads;
  const auto floats = thread_floats(op.qkv, op.layout, op.heads, backward);
  const auto images_begin = setup_.kernels.attention_scratch(op.layout.max_length, head_width, backward);
  const bool in_place = op.qkv.dtype() == DType::float32;
  const auto* offsets = op.layout.offsets.template data<std::int32_t>();
  const auto* order = op.layout.sequence_order.template data<std::int32_t>();
  const auto* position = op.layout.row_position.template data<std::int32_t>();
  parallel_for(setup_.threads, op.layout.max_sequences() * op.heads, [&](std::int64_t task, int thread) {
    const auto sequence = order[task / op.heads];
    const HeadPlace place{.index = task % op.heads,
                          .first = offsets[sequence],
                          .length = offsets[sequence + 1] - offsets[sequence],
                          .width = width,
                          .head_width = head_width};
    if (place.length == 0) return;
    auto* memory = static_cast<float*>(scratch) + thread * floats;
    AttentionHead head{.qkv_stride = in_place ? 3 * width : head_width,
                       .out_stride = in_place ? width : head_width,
                       .length = place.length,
                       .head_width = head_width,
                       .cosine = rotary_table_.cosine(),
                       .sine = rotary_table_.sine(),
                       .position = position + place.first,
                       .scratch = memory};
    // The statistics are written forward and read backward, where the op's view is constant.
    if (op.log_sum_exp.present())
      head.log_sum_exp = const_cast<float*>(op.log_sum_exp.template data<float>()) + place.index * rows + place.first;
    float* images = memory + images_begin;
    if (in_place) {
      head.q = op.qkv.template data<float>() + place.part_begin(0);
      head.k = head.q + width;
      head.v = head.q + 2 * width;
    } else {
      for (std::int64_t part = 0; part < 3; ++part)
        place.read(op.qkv, place.part_begin(part), 3 * width, setup_.kernels, images + part * place.elements());
      head.q = images;
      head.k = images + place.elements();
      head.v = images + 2 * place.elements();
    }
    body(place, head, images);
  });
}

void CpuAttentionOps::launch(const AttentionForward& op) {
  const auto rows = op.out.shape()[0];
  auto* scratch = context().scratch_for("AttentionForward", scratch_bytes(op));
  prepare(op.qkv, op.layout, op.heads, op.rotary);
  zero_dead_rows(op.layout, op.out);
  const auto& kernels = setup_.kernels;
  for_each_head(op, false, scratch, [&](const HeadPlace& place, AttentionHead& head, float* images) {
    const bool in_place = op.qkv.dtype() == DType::float32;
    head.out = in_place ? op.out.data<float>() + place.out_begin() : images + 3 * place.elements();
    kernels.attention_forward(head);
    if (!in_place) place.write(op.out, place.out_begin(), place.width, kernels, head.out);
  });
  if (op.log_sum_exp.present()) {
    const auto used = op.layout.offsets.data<std::int32_t>()[op.layout.max_sequences()];
    for (int head = 0; head < op.heads; ++head)
      std::fill(op.log_sum_exp.data<float>() + head * rows + used, op.log_sum_exp.data<float>() + (head + 1) * rows,
                0.0F);
  }
}

void CpuAttentionOps::launch(const AttentionBackward& op) {
  auto* scratch = context().scratch_for("AttentionBackward", scratch_bytes(op));
  prepare(op.qkv, op.layout, op.heads, op.rotary);
  zero_dead_rows(op.layout, op.grad_qkv);
  const auto& kernels = setup_.kernels;
  for_each_head(op, true, scratch, [&](const HeadPlace& place, AttentionHead& head, float* images) {
    const auto size = place.elements();
    if (op.qkv.dtype() == DType::float32) {
      head.out_read = op.out.data<float>() + place.out_begin();
      head.grad_out = op.grad_out.data<float>() + place.out_begin();
      head.grad_q = op.grad_qkv.data<float>() + place.part_begin(0);
      head.grad_k = head.grad_q + place.width;
      head.grad_v = head.grad_q + 2 * place.width;
      kernels.attention_backward(head);
      return;
    }
    place.read(op.out, place.out_begin(), place.width, kernels, images + 3 * size);
    place.read(op.grad_out, place.out_begin(), place.width, kernels, images + 4 * size);
    head.out_read = images + 3 * size;
    head.grad_out = images + 4 * size;
    head.grad_q = images + 5 * size;
    head.grad_k = images + 6 * size;
    head.grad_v = images + 7 * size;
    kernels.attention_backward(head);
    for (std::int64_t part = 0; part < 3; ++part)
      place.write(op.grad_qkv, place.part_begin(part), 3 * place.width, kernels, images + (5 + part) * size);
  });
}

}  // namespace

std::unique_ptr<AttentionOps> make_attention_ops(const Setup& setup) {
  return std::make_unique<CpuAttentionOps>(setup);
}

}  // namespace lsd::backends::cpu
