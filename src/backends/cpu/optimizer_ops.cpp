// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "cpu_internal.h"
#include "lsd/tensor/step_scalars.h"

namespace lsd::backends::cpu {
namespace {

constexpr std::int64_t kBlock = 16384;  // elements per task, a multiple of 64

class CpuOptimizerOps : public OptimizerOps {
 public:
  explicit CpuOptimizerOps(const Setup& setup) : OptimizerOps(setup.context), setup_(setup) {}

 private:
  std::size_t scratch_bytes(const SquaredNorm& op) const override {
    return ScratchCursor::bytes_of<double>(ceil_div(op.x.elements(), kBlock));
  }
  std::size_t scratch_bytes(const AdamW&) const override { return 0; }

  void launch(const SquaredNorm& op) override {
    const auto count = op.x.elements(), blocks = ceil_div(count, kBlock);
    auto* sums = static_cast<double*>(context().scratch_for("SquaredNorm", scratch_bytes(op)));
    parallel_rows(setup_.threads, count, kBlock, [&](std::int64_t first, std::int64_t last, int) {
      sums[first / kBlock] = setup_.kernels.sum_of_squares(op.x.data<float>() + first, last - first);
    });
    double total = 0.0;
    for (std::int64_t b = 0; b < blocks; ++b) total += sums[b];
    op.sum.data<float>()[0] += static_cast<float>(total);
  }

  void launch(const AdamW& op) override {
    const auto* scalars = op.scalars.data<float>();
    const float squared_norm = op.squared_norm.data<float>()[0];
    if (scalars[StepScalars::skip] != 0.0F || !std::isfinite(squared_norm)) return;
    const float clip = scalars[StepScalars::clip_norm];
    float scale = scalars[StepScalars::gradient_scale];
    const float norm = scale * std::sqrt(squared_norm);
    if (clip > 0.0F && norm > clip) scale *= clip / norm;
    const Writer compute(op.compute, setup_.kernels);
    parallel_rows(setup_.threads, op.grad.elements(), kBlock, [&](std::int64_t first, std::int64_t last, int) {
      float* master = op.master.data<float>() + first;
      setup_.kernels.adamw({.grad = op.grad.data<float>() + first,
                            .decay_blocks = op.decay_blocks.data<std::uint8_t>() + first / 64,
                            .master = master,
                            .first = op.first_moment.data<float>() + first,
                            .second = op.second_moment.data<float>() + first,
                            .ema = op.ema.present() ? op.ema.data<float>() + first : nullptr,
                            .count = last - first,
                            .scale = scale,
                            .beta1 = op.beta1,
                            .beta2 = op.beta2,
                            .rate = scalars[StepScalars::learning_rate],
                            .inv_bias1 = 1.0F / scalars[StepScalars::bias_correction1],
                            .inv_bias2 = 1.0F / scalars[StepScalars::bias_correction2],
                            .epsilon = op.epsilon,
                            .weight_decay = op.weight_decay,
                            .ema_step = 1.0F - scalars[StepScalars::ema_decay]});
      if (compute.rounds())
        compute.finish(first, last - first, master);
      else
        std::copy_n(master, last - first, compute.target(first, nullptr));
    });
  }

  Setup setup_;
};

}  // namespace

std::unique_ptr<OptimizerOps> make_optimizer_ops(const Setup& setup) {
  return std::make_unique<CpuOptimizerOps>(setup);
}

}  // namespace lsd::backends::cpu
