// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "families_internal.h"
#include "lsd/core/error.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

double share_of(ConstTensorView share) {
  return share.present() ? ConstValues(share)[0] : 1.0;
}

std::int64_t groups_taking_part(ConstTensorView count, float min_count) {
  std::int64_t groups = 0;
  for (const float n : count.span<float>()) groups += n >= min_count && n > 0.0F ? 1 : 0;
  return groups;
}

// Lower Cholesky factor of a symmetric positive definite [n, n] matrix, in place; the upper part is left as it was.
void cholesky(std::vector<double>& a, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) {
    double pivot = a[j * n + j];
    for (std::size_t k = 0; k < j; ++k) pivot -= a[j * n + k] * a[j * n + k];
    if (!(pivot > 0.0))
      throw SystemError("MultivariateKl: the covariance of the latents is not positive definite (pivot " +
                        std::to_string(j) + " is " + std::to_string(pivot) +
                        "); latents may not be finite, or use a larger shrinkage");
    a[j * n + j] = std::sqrt(pivot);
    for (std::size_t i = j + 1; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = sum / a[j * n + j];
    }
  }
}

// Solves L L' x = b in place.
void solve(const std::vector<double>& lower, std::size_t n, std::vector<double>& b) {
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= lower[i * n + k] * b[k];
    b[i] /= lower[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= lower[k * n + i] * b[k];
    b[i] /= lower[i * n + i];
  }
}

class ReferenceReduceOps : public ReduceOps {
 public:
  using ReduceOps::ReduceOps;

 private:
  void launch(const GroupMoments& op) override {
    const auto rows = op.z.shape()[0], width = op.z.shape()[1], groups = op.count.elements();
    const auto* row_group = op.row_group.data<std::int32_t>();
    std::vector<double> count(static_cast<std::size_t>(groups)), mean(static_cast<std::size_t>(groups * width)),
        variance(mean.size());
    const auto slot = [&](std::int64_t r, std::int64_t c) {
      return static_cast<std::size_t>(row_group[r] * width + c);
    };
    const auto divide = [&](std::vector<double>& sums) {
      for (std::size_t i = 0; i < sums.size(); ++i)
        if (const double n = count[i / static_cast<std::size_t>(width)]; n > 0.0) sums[i] /= n;
    };
    for (std::int64_t r = 0; r < rows; ++r) {
      if (row_group[r] < 0) continue;
      count[static_cast<std::size_t>(row_group[r])] += 1.0;
      for (std::int64_t c = 0; c < width; ++c) mean[slot(r, c)] += ConstValues(op.z)[r * width + c];
    }
    divide(mean);
    for (std::int64_t r = 0; r < rows; ++r) {
      if (row_group[r] < 0) continue;
      for (std::int64_t c = 0; c < width; ++c)
        variance[slot(r, c)] += std::pow(ConstValues(op.z)[r * width + c] - mean[slot(r, c)], 2);
    }
    divide(variance);
    for (std::int64_t g = 0; g < groups; ++g) Values(op.count).set(g, count[static_cast<std::size_t>(g)]);
    for (std::int64_t i = 0; i < groups * width; ++i) {
      Values(op.mean).set(i, mean[static_cast<std::size_t>(i)]);
      Values(op.variance).set(i, variance[static_cast<std::size_t>(i)]);
    }
  }

  void launch(const UnivariateKl& op) override {
    const auto groups = op.mean.shape()[0], width = op.mean.shape()[1];
    const auto taking_part = static_cast<double>(groups_taking_part(op.count, op.min_count));
    double loss = 0.0;
    for (std::int64_t i = 0; i < groups * width; ++i) {
      const double n = ConstValues(op.count)[i / width];
      const bool part = n >= op.min_count && n > 0.0;
      const double mean = ConstValues(op.mean)[i], raw = ConstValues(op.variance)[i];
      const double floor = op.variance_floor, variance = std::max(raw, floor);
      const double factor = part ? 1.0 / (n * static_cast<double>(width) * taking_part) : 0.0;
      if (part)
        loss += 0.5 * (mean * mean + variance - 1.0 - std::log(variance)) / (static_cast<double>(width) * taking_part);
      Values(op.offset).set(i, factor * mean);
      Values(op.slope).set(i, raw >= floor ? factor * (1.0 - 1.0 / variance) : 0.0);
    }
    Values(op.loss).add(0, loss);
  }

  void launch(const MomentGradient& op) override {
    const auto rows = op.z.shape()[0], width = op.z.shape()[1];
    const double factor = op.weight * share_of(op.share);
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto group = op.row_group.data<std::int32_t>()[r];
      for (std::int64_t c = 0; c < width; ++c) {
        const auto i = r * width + c, g = group * width + c;
        const double extra =
            group < 0 ? 0.0
                      : factor * (ConstValues(op.offset)[g] +
                                  ConstValues(op.slope)[g] * (ConstValues(op.z)[i] - ConstValues(op.mean)[g]));
        Values(op.grad_z).set(i, ConstValues(op.grad_in)[i] + extra);
      }
    }
  }

  void launch(const MultivariateKl& op) override {
    const auto groups = op.mean.shape()[0];
    const auto taking_part = static_cast<double>(groups_taking_part(op.count, op.min_count));
    if (op.grad_z.present())
      for (std::int64_t i = 0; i < op.grad_z.elements(); ++i) Values(op.grad_z).set(i, ConstValues(op.grad_in)[i]);
    for (std::int64_t g = 0; g < groups; ++g) {
      const double n = ConstValues(op.count)[g];
      if (n >= op.min_count && n > 0.0) multivariate_group(op, g, n, taking_part);
    }
  }

  static void multivariate_group(const MultivariateKl& op, std::int64_t group, double n, double taking_part) {
    const auto rows = op.z.shape()[0];
    const auto d = static_cast<std::size_t>(op.z.shape()[1]);
    const auto width = static_cast<double>(d), shrinkage = static_cast<double>(op.shrinkage);
    const auto mean = to_doubles(op.mean.row_range(group, 1));
    const auto* row_group = op.row_group.data<std::int32_t>();
    std::vector<double> covariance(d * d), centred(d);
    for (std::int64_t r = 0; r < rows; ++r) {
      if (row_group[r] != group) continue;
      const auto z = to_doubles(op.z.row_range(r, 1));
      for (std::size_t i = 0; i < d; ++i)
        for (std::size_t j = 0; j <= i; ++j) covariance[i * d + j] += (z[i] - mean[i]) * (z[j] - mean[j]) / n;
    }
    double trace = 0.0, mean_square = 0.0, log_det = 0.0;
    for (std::size_t i = 0; i < d; ++i) {
      for (std::size_t j = 0; j <= i; ++j) covariance[i * d + j] *= 1.0 - shrinkage;
      covariance[i * d + i] += shrinkage;
      trace += covariance[i * d + i];
      mean_square += mean[i] * mean[i];
    }
    cholesky(covariance, d);
    for (std::size_t i = 0; i < d; ++i) log_det += 2.0 * std::log(covariance[i * d + i]);
    Values(op.loss).add(0, (trace + mean_square - width - log_det) / (2.0 * width * taking_part));
    if (!op.grad_z.present()) return;
    const double factor = op.weight * share_of(op.share) / (n * width * taking_part);
    for (std::int64_t r = 0; r < rows; ++r) {
      if (row_group[r] != group) continue;
      const auto z = to_doubles(op.z.row_range(r, 1));
      for (std::size_t i = 0; i < d; ++i) centred[i] = z[i] - mean[i];
      auto solved = centred;
      solve(covariance, d, solved);
      for (std::size_t i = 0; i < d; ++i)
        Values(op.grad_z).set(r * static_cast<std::int64_t>(d) + static_cast<std::int64_t>(i),
                              ConstValues(op.grad_in)[r * static_cast<std::int64_t>(d) + static_cast<std::int64_t>(i)] +
                                  factor * (mean[i] + (1.0 - shrinkage) * (centred[i] - solved[i])));
    }
  }

  void launch(const SequenceMean& op) override {
    const auto width = op.x.shape()[1];
    const auto* offsets = op.layout.offsets.data<std::int32_t>();
    for (std::int64_t s = 0; s < op.layout.max_sequences(); ++s)
      for (std::int64_t c = 0; c < width; ++c) {
        double sum = 0.0, count = 0.0;
        for (std::int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
          if (op.row_mask.data<std::uint8_t>()[r] == 0) continue;
          sum += ConstValues(op.x)[r * width + c];
          count += 1.0;
        }
        Values(op.mean).set(s * width + c, count > 0.0 ? sum / count : 0.0);
      }
  }
};

}  // namespace

std::unique_ptr<ReduceOps> make_reduce_ops(const Setup& setup) {
  return std::make_unique<ReferenceReduceOps>(setup.context);
}

}  // namespace lsd::backends::reference
