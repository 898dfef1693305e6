// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "families_internal.h"
#include "lsd/tensor/step_scalars.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

class ReferenceOptimizerOps : public OptimizerOps {
 public:
  using OptimizerOps::OptimizerOps;

 private:
  void launch(const SquaredNorm& op) override {
    double sum = 0.0;
    for (const double x : op.x.span<float>()) sum += x * x;
    Values(op.sum).add(0, sum);
  }

  void launch(const AdamW& op) override {
    const auto* scalars = op.scalars.data<float>();
    const double squared_norm = op.squared_norm.data<float>()[0];
    if (scalars[StepScalars::skip] != 0.0F || !std::isfinite(squared_norm)) return;
    const double rate = scalars[StepScalars::learning_rate], clip = scalars[StepScalars::clip_norm];
    double scale = scalars[StepScalars::gradient_scale];
    const double norm = scale * std::sqrt(squared_norm);
    if (clip > 0.0 && norm > clip) scale *= clip / norm;
    const double beta1 = op.beta1, beta2 = op.beta2;
    for (std::int64_t i = 0; i < op.grad.elements(); ++i) {
      const double gradient = op.grad.data<float>()[i] * scale;
      const double first = beta1 * op.first_moment.data<float>()[i] + (1.0 - beta1) * gradient;
      const double second = beta2 * op.second_moment.data<float>()[i] + (1.0 - beta2) * gradient * gradient;
      const double decay = op.decay_blocks.data<std::uint8_t>()[i / 64] != 0 ? op.weight_decay : 0.0;
      const double before = op.master.data<float>()[i];
      const double update = first / scalars[StepScalars::bias_correction1] /
                            (std::sqrt(second / scalars[StepScalars::bias_correction2]) + op.epsilon);
      const auto master = static_cast<float>(before - rate * (update + decay * before));
      op.first_moment.data<float>()[i] = static_cast<float>(first);
      op.second_moment.data<float>()[i] = static_cast<float>(second);
      op.master.data<float>()[i] = master;
      if (op.ema.present())
        Values(op.ema).add(i, (1.0 - scalars[StepScalars::ema_decay]) * (master - ConstValues(op.ema)[i]));
      Values(op.compute).set(i, master);
    }
  }
};

}  // namespace

std::unique_ptr<OptimizerOps> make_optimizer_ops(const Setup& setup) {
  return std::make_unique<ReferenceOptimizerOps>(setup.context);
}

}  // namespace lsd::backends::reference
