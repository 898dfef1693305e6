// SPDX-License-Identifier: Apache-2.0
#include "cpu_internal.h"

namespace lsd::backends::cpu {
namespace {

// Float32 rows of one chunk of a modulation tensor; null for rows of no sequence, which stand for zeros.
struct Chunk {
  Chunk(ConstTensorView view, const Kernels& kernels, std::int64_t chunk_width, int chunk)
      : reader(view, kernels),
        stride(view.present() ? view.shape()[1] : 0),
        begin(chunk * chunk_width),
        width(chunk_width) {}
  const float* read(std::int32_t sequence, float* buffer) const {
    return reader.read(sequence * stride + begin, width, buffer);
  }
  Reader reader;
  std::int64_t stride, begin, width;
};

class CpuNormOps : public NormOps {
 public:
  explicit CpuNormOps(const Setup& setup) : NormOps(setup.context), setup_(setup) {}

 private:
  static constexpr std::int64_t kBuffers = 8;  // rows of float32 per thread

  std::size_t row_buffers(std::int64_t width) const {
    return static_cast<std::size_t>(setup_.threads) * ScratchCursor::bytes_of<float>(kBuffers * width);
  }
  std::size_t scratch_bytes(const NormForward& op) const override { return row_buffers(op.x.shape()[1]); }
  std::size_t scratch_bytes(const NormBackward& op) const override {
    const auto blocks = ceil_div(op.sum.shape()[0], kRowBlock), width = op.sum.shape()[1];
    return row_buffers(width) + ScratchCursor::bytes_of<float>(2 * blocks * width);
  }
  std::size_t scratch_bytes(const AdaptiveNormForward& op) const override { return row_buffers(op.x.shape()[1]); }
  std::size_t scratch_bytes(const AdaptiveNormBackward& op) const override { return row_buffers(op.sum.shape()[1]); }

  static float* row_buffer(void* scratch, std::int64_t width, int thread) {
    return reinterpret_cast<float*>(static_cast<std::byte*>(scratch) +
                                    static_cast<std::size_t>(thread) *
                                        ScratchCursor::bytes_of<float>(kBuffers * width));
  }

  // Every row of either forward norm; set_row(row, r, whether it is the first of a block, [4, width] buffers of its
  // own) sets gain, bias and gate.
  template <class Op, class SetRow>
  void forward(const Op& op, void* scratch, float gain_offset, SetRow&& set_row);
  void launch(const NormForward& op) override;
  void launch(const NormBackward& op) override;
  void launch(const AdaptiveNormForward& op) override;
  void launch(const AdaptiveNormBackward& op) override;

  Setup setup_;
};

template <class Op, class SetRow>
void CpuNormOps::forward(const Op& op, void* scratch, float gain_offset, SetRow&& set_row) {
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  const auto& kernels = setup_.kernels;
  const Reader x(op.x, kernels), delta(op.delta, kernels);
  const Writer sum(op.sum, kernels), y(op.y, kernels);
  parallel_rows(setup_.threads, rows, kRowBlock, [&](std::int64_t first, std::int64_t last, int thread) {
    float* buffer = row_buffer(scratch, width, thread);
    float* own = buffer + 4 * width;
    NormRow row{.gain_offset = gain_offset, .epsilon = op.epsilon, .width = width, .round_sum = sum.rounds()};
    for (std::int64_t r = first; r < last; ++r) {
      set_row(row, r, r == first, own);
      row.x = x.read(r * width, width, buffer);
      row.delta = delta.read(r * width, width, buffer + width);
      row.sum = sum.target(r * width, buffer + 2 * width);
      row.y = y.target(r * width, buffer + 3 * width);
      kernels.norm(row);
      if (op.delta.present()) sum.finish(r * width, width, row.sum);
      y.finish(r * width, width, row.y);
      op.mean.template data<float>()[r] = row.mean;
      op.inv_std.template data<float>()[r] = row.inv_std;
    }
  });
}

void CpuNormOps::launch(const NormForward& op) {
  const auto width = op.x.shape()[1];
  const Reader gain(op.gain, setup_.kernels), bias(op.bias, setup_.kernels);
  forward(op, context().scratch_for("NormForward", scratch_bytes(op)), 0.0F,
          [&](NormRow& row, std::int64_t, bool first, float* own) {
            if (!first) return;
            row.gain = gain.read(0, width, own);
            row.bias = bias.read(0, width, own + width);
          });
}

void CpuNormOps::launch(const AdaptiveNormForward& op) {
  const auto width = op.x.shape()[1];
  const auto& kernels = setup_.kernels;
  const auto* sequences = op.row_sequence.data<std::int32_t>();
  const Chunk gate(op.gate_modulation, kernels, width, op.gate_chunk),
      shift(op.modulation, kernels, width, op.shift_chunk), scale(op.modulation, kernels, width, op.scale_chunk);
  forward(op, context().scratch_for("AdaptiveNormForward", scratch_bytes(op)), 1.0F,
          [&](NormRow& row, std::int64_t r, bool first, float* own) {
            const auto sequence = sequences[r];
            if (!first && sequence == sequences[r - 1]) return;
            float* zeros = own + 3 * width;
            std::fill_n(zeros, width, 0.0F);
            const bool live = sequence >= 0;
            row.gate = live ? gate.read(sequence, own) : zeros;
            row.bias = live ? shift.read(sequence, own + width) : zeros;
            row.gain = live ? scale.read(sequence, own + 2 * width) : zeros;
          });
}

void CpuNormOps::launch(const NormBackward& op) {
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1], blocks = ceil_div(rows, kRowBlock);
  auto* scratch = context().scratch_for("NormBackward", scratch_bytes(op));
  const auto& kernels = setup_.kernels;
  const Reader grad_y(op.grad_y, kernels), sum(op.sum, kernels), gain(op.gain, kernels), grad_sum(op.grad_sum, kernels);
  const Writer grad_x(op.grad_x, kernels);
  auto* partial = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + row_buffers(width));
  parallel_rows(setup_.threads, rows, kRowBlock, [&](std::int64_t first, std::int64_t last, int thread) {
    float* buffer = row_buffer(scratch, width, thread);
    float* block = partial + first / kRowBlock * 2 * width;
    std::fill_n(block, 2 * width, 0.0F);
    NormRowBackward row{
        .gain = gain.read(0, width, buffer), .grad_gain = block, .grad_bias = block + width, .width = width};
    for (std::int64_t r = first; r < last; ++r) {
      row.grad_y = grad_y.read(r * width, width, buffer + width);
      row.sum = sum.read(r * width, width, buffer + 2 * width);
      row.grad_sum = grad_sum.read(r * width, width, buffer + 3 * width);
      row.grad_x = grad_x.target(r * width, buffer + 4 * width);
      row.mean = op.mean.data<float>()[r];
      row.inv_std = op.inv_std.data<float>()[r];
      kernels.norm_backward(row);
      grad_x.finish(r * width, width, row.grad_x);
    }
  });
  parallel_rows(setup_.threads, width, kRowBlock, [&](std::int64_t first, std::int64_t last, int) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      kernels.add_scaled(1.0F, partial + b * 2 * width + first, op.grad_gain.data<float>() + first, last - first);
      kernels.add_scaled(1.0F, partial + (b * 2 + 1) * width + first, op.grad_bias.data<float>() + first, last - first);
    }
  });
}

// One sequence at a time, so that the sums over its rows need no second pass; the dead rows are one more task.
void CpuNormOps::launch(const AdaptiveNormBackward& op) {
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1], slots = op.modulation.shape()[0];
  auto* scratch = context().scratch_for("AdaptiveNormBackward", scratch_bytes(op));
  const auto& kernels = setup_.kernels;
  const auto* offsets = op.offsets.data<std::int32_t>();
  const Reader grad_y(op.grad_y, kernels), sum(op.sum, kernels), grad_sum(op.grad_sum, kernels),
      delta(op.delta, kernels);
  const Writer grad_x(op.grad_x, kernels), grad_delta(op.grad_delta, kernels);
  const Writer grad_modulation(op.grad_modulation, kernels), grad_gate_modulation(op.grad_gate_modulation, kernels);
  const Chunk gate(op.gate_modulation, kernels, width, op.gate_chunk),
      scale(op.modulation, kernels, width, op.scale_chunk);
  const auto stride = op.modulation.shape()[1];
  const bool gated = op.delta.present();
  parallel_for(setup_.threads, slots + 1, [&](std::int64_t s, int thread) {
    float* buffer = row_buffer(scratch, width, thread);
    float *made_shift = buffer, *made_scale = buffer + width, *made_gate = buffer + 2 * width;
    float *gains = buffer + 3 * width, *gates = buffer + 4 * width;
    std::fill_n(buffer, 5 * width, 0.0F);
    const bool live = s < slots;
    const auto first = offsets[s], last = live ? offsets[s + 1] : static_cast<std::int32_t>(rows);
    const auto* gain_row = live && last > first ? scale.read(static_cast<std::int32_t>(s), gains) : gains;
    const auto* gate_row = gated && live && last > first ? gate.read(static_cast<std::int32_t>(s), gates) : gates;
    NormRowBackward row{
        .gain = gain_row, .grad_gain = made_scale, .grad_bias = made_shift, .gain_offset = 1.0F, .width = width};
    for (std::int64_t r = first; r < last; ++r) {
      row.grad_y = grad_y.read(r * width, width, buffer + 5 * width);
      row.sum = sum.read(r * width, width, buffer + 6 * width);
      row.grad_sum = grad_sum.read(r * width, width, buffer + 7 * width);
      // What was read is not read again: the row's gradient may stand in the buffer of `sum`.
      row.grad_x = grad_x.target(r * width, buffer + 6 * width);
      row.mean = op.mean.data<float>()[r];
      row.inv_std = op.inv_std.data<float>()[r];
      kernels.norm_backward(row);
      if (gated) {
        const float* delta_row = delta.read(r * width, width, buffer + 5 * width);
        kernels.add_product(delta_row, row.grad_x, made_gate, width);
        float* made = grad_delta.target(r * width, buffer + 7 * width);
        kernels.multiply(gate_row, row.grad_x, made, width);
        grad_delta.finish(r * width, width, made);
      }
      grad_x.finish(r * width, width, row.grad_x);
    }
    if (!live) return;
    const auto store = [&](const Writer& to, std::int64_t begin, const float* made) {
      std::copy_n(made, width, to.target(begin, const_cast<float*>(made)));
      to.finish(begin, width, made);
    };
    store(grad_modulation, s * stride + op.shift_chunk * width, made_shift);
    store(grad_modulation, s * stride + op.scale_chunk * width, made_scale);
    if (gated) store(grad_gate_modulation, s * op.gate_modulation.shape()[1] + op.gate_chunk * width, made_gate);
  });
}

}  // namespace

std::unique_ptr<NormOps> make_norm_ops(const Setup& setup) {
  return std::make_unique<CpuNormOps>(setup);
}

}  // namespace lsd::backends::cpu
