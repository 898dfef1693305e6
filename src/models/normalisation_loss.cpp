// SPDX-License-Identifier: Apache-2.0
#include "normalisation_loss_internal.h"

#include <vector>

#include "lsd/tensor/pointwise_ops.h"
#include "lsd/tensor/reduce_ops.h"

namespace lsd::models {
namespace {

constexpr std::int64_t kResidueTypes = 20;

// loss += share * kl.
void add_share(nn::StepContext& step, ConstTensorView kl, ConstTensorView share, TensorView loss) {
  const Shape one{1, 1};
  step.backend.pointwise().run(
      ColumnAffine{.x = kl.reshaped(one), .scale = share, .shift = loss, .y = loss.reshaped(one)});
}

std::vector<float> to_host(Backend& backend, ConstTensorView view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  backend.copy_to_host(values.data(), view);
  backend.synchronize();
  return values;
}

// [n | n mean | n (variance + mean^2)] by group: what adds up over ranks.
std::vector<float> sums_of(const std::vector<float>& count, const std::vector<float>& mean,
                           const std::vector<float>& variance) {
  std::vector<float> sums(count);
  const auto width = mean.size() / count.size();
  for (std::size_t i = 0; i < mean.size(); ++i) sums.push_back(count[i / width] * mean[i]);
  for (std::size_t i = 0; i < mean.size(); ++i) sums.push_back(count[i / width] * (variance[i] + mean[i] * mean[i]));
  return sums;
}

void moments_of(const std::vector<float>& sums, std::vector<float>& count, std::vector<float>& mean,
                std::vector<float>& variance) {
  const auto groups = count.size(), width = mean.size() / groups;
  count.assign(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(groups));
  for (std::size_t i = 0; i < mean.size(); ++i) {
    const double n = count[i / width];
    const double mu = n > 0 ? sums[groups + i] / n : 0.0;
    mean[i] = static_cast<float>(mu);
    variance[i] = n > 0 ? static_cast<float>(sums[groups + mean.size() + i] / n - mu * mu) : 0.0F;
  }
}

}  // namespace

float NormalisationLoss::min_count() const {
  return config_.variant == "tn" ? static_cast<float>(config_.min_count) : 2.0F;
}

void NormalisationLoss::run(nn::StepContext& step, const Batch& batch, ConstTensorView z, ConstTensorView share,
                            ConstTensorView grad_in, TensorView grad_z, TensorView loss) const {
  const ArenaScope scope(step.arena);
  const bool by_type = config_.variant == "tn";
  const auto groups = by_type ? kResidueTypes : 1;
  const auto row_group = by_type ? batch.type_group : batch.residue_group;
  const auto per_group = [&] { return step.arena.allocate(DType::float32, Shape{groups, config_.width}); };
  const Moments moments{step.arena.allocate(DType::float32, Shape{groups}), per_group(), per_group()};
  auto& reduce = step.backend.reduce();
  reduce.run(GroupMoments{
      .z = z, .row_group = row_group, .count = moments.count, .mean = moments.mean, .variance = moments.variance});
  const TensorView kl = share.present() ? step.arena.allocate(DType::float32, Shape{1}) : loss;
  if (share.present()) step.backend.pointwise().run(Fill{.y = kl});
  const Operands operands{z, row_group, share, grad_in, grad_z, kl};
  if (config_.norm == "multivariate")
    multivariate(step, moments, operands);
  else
    univariate(step, moments, operands);
  if (share.present()) add_share(step, kl, share, loss);
}

void NormalisationLoss::multivariate(nn::StepContext& step, const Moments& moments, const Operands& operands) const {
  step.backend.reduce().run(MultivariateKl{.z = operands.z,
                                           .row_group = operands.row_group,
                                           .count = moments.count,
                                           .mean = moments.mean,
                                           .grad_in = operands.grad_in,
                                           .share = operands.share,
                                           .grad_z = operands.grad_z,
                                           .loss = operands.loss,
                                           .min_count = min_count(),
                                           .shrinkage = static_cast<float>(config_.shrinkage),
                                           .weight = static_cast<float>(config_.lambda)});
}

void NormalisationLoss::univariate(nn::StepContext& step, const Moments& moments, const Operands& operands) const {
  const bool global = config_.moments == "global" && operands.grad_z.present();
  if (global && step.hooks && !step.backend.planning()) sum_over_ranks(step, moments);
  TensorView offset = step.arena.like(moments.mean), slope = step.arena.like(moments.mean);
  step.backend.reduce().run(UnivariateKl{.count = moments.count,
                                         .mean = moments.mean,
                                         .variance = moments.variance,
                                         .offset = offset,
                                         .slope = slope,
                                         .loss = operands.loss,
                                         .min_count = min_count(),
                                         .variance_floor = static_cast<float>(config_.variance_floor)});
  if (!operands.grad_z.present()) return;
  // With global moments every rank holds the whole loss, whose gradients add up over ranks without a share.
  step.backend.reduce().run(MomentGradient{.grad_in = operands.grad_in,
                                           .z = operands.z,
                                           .row_group = operands.row_group,
                                           .mean = moments.mean,
                                           .offset = offset,
                                           .slope = slope,
                                           .grad_z = operands.grad_z,
                                           .share = global ? ConstTensorView() : operands.share,
                                           .weight = static_cast<float>(config_.lambda)});
}

void NormalisationLoss::sum_over_ranks(nn::StepContext& step, const Moments& moments) const {
  auto& backend = step.backend;
  auto count = to_host(backend, moments.count), mean = to_host(backend, moments.mean),
       variance = to_host(backend, moments.variance);
  auto sums = sums_of(count, mean, variance);
  TensorView on_device = step.arena.allocate(DType::float32, Shape{static_cast<std::int64_t>(sums.size())});
  backend.copy_to_device(on_device, sums.data());
  step.hooks->sum_over_ranks(on_device);
  sums = to_host(backend, on_device);
  moments_of(sums, count, mean, variance);
  backend.copy_to_device(moments.count, count.data());
  backend.copy_to_device(moments.mean, mean.data());
  backend.copy_to_device(moments.variance, variance.data());
  backend.synchronize();  // the host vectors end here
}

}  // namespace lsd::models
