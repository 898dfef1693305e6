// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "families_internal.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

class ReferenceLossOps : public LossOps {
 public:
  using LossOps::LossOps;

 private:
  void launch(const CrossEntropy& op) override {
    const auto rows = op.logits.shape()[0], vocab = op.logits.shape()[1];
    const double scale = ConstValues(op.scale)[0];
    double loss = 0.0, unweighted = 0.0, correct = 0.0;
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto target = op.targets.data<std::int32_t>()[r];
      if (target < 0) {
        if (op.grad_logits.present())
          for (std::int64_t k = 0; k < vocab; ++k) Values(op.grad_logits).set(r * vocab + k, 0.0);
        continue;
      }
      const auto logits = to_doubles(op.logits.row_range(r, 1));
      std::int64_t best = 0;
      for (std::int64_t k = 1; k < vocab; ++k)
        if (logits[static_cast<std::size_t>(k)] > logits[static_cast<std::size_t>(best)]) best = k;
      const double largest = logits[static_cast<std::size_t>(best)];
      double total = 0.0;
      for (const double logit : logits) total += std::exp(logit - largest);
      const double sine = op.row_time.present() ? std::sin(0.5 * std::numbers::pi * ConstValues(op.row_time)[r]) : 1.0;
      const double weight = sine * sine, log_total = largest + std::log(total);
      const double entropy = log_total - logits[static_cast<std::size_t>(target)];
      loss += weight * entropy;
      unweighted += entropy;
      correct += best == target ? 1.0 : 0.0;
      if (!op.grad_logits.present()) continue;
      for (std::int64_t k = 0; k < vocab; ++k)
        Values(op.grad_logits)
            .set(r * vocab + k,
                 scale * weight *
                     (std::exp(logits[static_cast<std::size_t>(k)] - log_total) - (k == target ? 1.0 : 0.0)));
    }
    Values(op.loss_sum).add(0, loss);
    Values(op.unweighted_sum).add(0, unweighted);
    Values(op.correct).add(0, correct);
  }

  void launch(const SquaredError& op) override {
    const auto rows = op.prediction.shape()[0], width = op.prediction.shape()[1], sequences = op.weight.elements();
    const double scale = ConstValues(op.scale)[0];
    std::vector<double> sums(static_cast<std::size_t>(sequences)), counts(static_cast<std::size_t>(sequences));
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto sequence = op.row_sequence.data<std::int32_t>()[r];
      const bool counted = op.row_mask.data<std::uint8_t>()[r] != 0 && sequence >= 0;
      const double weight = counted ? ConstValues(op.weight)[sequence] : 0.0;
      double error = 0.0;
      for (std::int64_t c = 0; c < width; ++c) {
        const double difference = ConstValues(op.prediction)[r * width + c] - ConstValues(op.target)[r * width + c];
        error += difference * difference;
        if (op.grad_prediction.present())
          Values(op.grad_prediction)
              .set(r * width + c, counted ? scale * weight * 2.0 * difference / static_cast<double>(width) : 0.0);
      }
      if (!counted) continue;
      sums[static_cast<std::size_t>(sequence)] += error / static_cast<double>(width);
      counts[static_cast<std::size_t>(sequence)] += 1.0;
    }
    double loss = 0.0, unweighted = 0.0;
    for (std::int64_t s = 0; s < sequences; ++s) {
      const auto i = static_cast<std::size_t>(s);
      loss += ConstValues(op.weight)[s] * sums[i];
      unweighted += sums[i];
      Values(op.sequence_loss).set(s, counts[i] > 0.0 ? sums[i] / counts[i] : 0.0);
    }
    Values(op.loss_sum).add(0, loss);
    Values(op.unweighted_sum).add(0, unweighted);
  }
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(const Setup& setup) {
  return std::make_unique<ReferenceLossOps>(setup.context);
}

}  // namespace lsd::backends::reference
