// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "cpu_internal.h"

namespace lsd::backends::cpu {
namespace {

struct EntropySums {
  double loss = 0.0, unweighted = 0.0, correct = 0.0;
};

class CpuLossOps : public LossOps {
 public:
  explicit CpuLossOps(const Setup& setup) : LossOps(setup.context), setup_(setup) {}

 private:
  std::size_t row_bytes(std::int64_t width) const {
    return static_cast<std::size_t>(setup_.threads) * ScratchCursor::bytes_of<float>(3 * width);
  }
  std::size_t scratch_bytes(const CrossEntropy& op) const override {
    const auto rows = op.logits.shape()[0], vocab = op.logits.shape()[1];
    return ScratchCursor::bytes_of<EntropySums>(ceil_div(rows, kRowBlock)) + row_bytes(vocab);
  }
  std::size_t scratch_bytes(const SquaredError& op) const override {
    return ScratchCursor::bytes_of<double>(op.weight.elements()) + row_bytes(op.prediction.shape()[1]);
  }
  static float* row_buffer(float* rows, std::int64_t width, int thread) {
    return rows + static_cast<std::size_t>(thread) * ScratchCursor::bytes_of<float>(3 * width) / sizeof(float);
  }

  void launch(const CrossEntropy& op) override;
  void launch(const SquaredError& op) override;

  Setup setup_;
};

void CpuLossOps::launch(const CrossEntropy& op) {
  const auto rows = op.logits.shape()[0], vocab = op.logits.shape()[1], blocks = ceil_div(rows, kRowBlock);
  ScratchCursor scratch(context().scratch_for("CrossEntropy", scratch_bytes(op)));
  auto* sums = scratch.take<EntropySums>(blocks);
  auto* row_memory = scratch.take<float>(0);
  const auto& kernels = setup_.kernels;
  const Reader logits(op.logits, kernels);
  const Writer grad(op.grad_logits, kernels);
  const float scale = op.scale.data<float>()[0];
  parallel_rows(setup_.threads, rows, kRowBlock, [&](std::int64_t first, std::int64_t last, int thread) {
    float* buffer = row_buffer(row_memory, vocab, thread);
    EntropySums block;
    for (std::int64_t r = first; r < last; ++r) {
      const auto target = op.targets.data<std::int32_t>()[r];
      float* made = grad.target(r * vocab, buffer + vocab);
      if (target >= 0) {
        const float sine =
            op.row_time.present() ? std::sin(0.5F * std::numbers::pi_v<float> * op.row_time.data<float>()[r]) : 1.0F;
        EntropyRow row{.logits = logits.read(r * vocab, vocab, buffer),
                       .grad = made,
                       .vocab = vocab,
                       .target = target,
                       .factor = scale * sine * sine};
        kernels.entropy(row);
        block.loss += static_cast<double>(sine) * sine * row.entropy;
        block.unweighted += row.entropy;
        block.correct += row.correct ? 1.0 : 0.0;
      } else if (made != nullptr) {
        std::fill_n(made, vocab, 0.0F);
      }
      if (made != nullptr) grad.finish(r * vocab, vocab, made);
    }
    sums[first / kRowBlock] = block;
  });
  EntropySums total;
  for (std::int64_t b = 0; b < blocks; ++b) {
    total.loss += sums[b].loss;
    total.unweighted += sums[b].unweighted;
    total.correct += sums[b].correct;
  }
  op.loss_sum.data<float>()[0] += static_cast<float>(total.loss);
  op.unweighted_sum.data<float>()[0] += static_cast<float>(total.unweighted);
  op.correct.data<float>()[0] += static_cast<float>(total.correct);
}

// One sequence at a time; the dead rows behind the last one are one more task, which only clears their gradient.
void CpuLossOps::launch(const SquaredError& op) {
  const auto rows = op.prediction.shape()[0], width = op.prediction.shape()[1], sequences = op.weight.elements();
  ScratchCursor scratch(context().scratch_for("SquaredError", scratch_bytes(op)));
  auto* sums = scratch.take<double>(sequences);
  auto* row_memory = scratch.take<float>(0);
  const auto& kernels = setup_.kernels;
  const auto* offsets = op.offsets.data<std::int32_t>();
  const Reader prediction(op.prediction, kernels), target(op.target, kernels);
  const Writer grad(op.grad_prediction, kernels);
  const float scale = op.scale.data<float>()[0] * 2.0F / static_cast<float>(width);
  parallel_for(setup_.threads, sequences + 1, [&](std::int64_t s, int thread) {
    float* buffer = row_buffer(row_memory, width, thread);
    const bool live = s < sequences;
    const auto first = offsets[s], last = live ? offsets[s + 1] : static_cast<std::int32_t>(rows);
    const float factor = live ? scale * op.weight.data<float>()[s] : 0.0F;
    double sum = 0.0;
    std::int64_t count = 0;
    for (std::int64_t r = first; r < last; ++r) {
      float* made = grad.target(r * width, buffer + 2 * width);
      if (live && op.row_mask.data<std::uint8_t>()[r] != 0) {
        sum += kernels.squared_error(prediction.read(r * width, width, buffer),
                                     target.read(r * width, width, buffer + width), factor, made, width);
        ++count;
      } else if (made != nullptr) {
        std::fill_n(made, width, 0.0F);
      }
      if (made != nullptr) grad.finish(r * width, width, made);
    }
    if (!live) return;
    sum /= static_cast<double>(width);
    sums[s] = sum;
    op.sequence_loss.data<float>()[s] = count > 0 ? static_cast<float>(sum / static_cast<double>(count)) : 0.0F;
  });
  double loss = 0.0, unweighted = 0.0;
  for (std::int64_t s = 0; s < sequences; ++s) {
    loss += sums[s] * op.weight.data<float>()[s];
    unweighted += sums[s];
  }
  op.loss_sum.data<float>()[0] += static_cast<float>(loss);
  op.unweighted_sum.data<float>()[0] += static_cast<float>(unweighted);
}

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(const Setup& setup) {
  return std::make_unique<CpuLossOps>(setup);
}

}  // namespace lsd::backends::cpu
