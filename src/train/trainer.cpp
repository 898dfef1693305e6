// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"

namespace lsd::train {
namespace {

// Small float32 tensors of the trainer, in one block: scalars, metric slots, squared norm, share of the micro-batch.
constexpr std::int64_t kMaxMetricSlots = 48;

}  // namespace

class Trainer::Hooks : public nn::StepHooks {
 public:
  Hooks(const World& world, GradientSync& sync) : world_(world), sync_(sync) {}
  void sum_over_ranks(TensorView values) override {
    world_.collectives.wait(world_.collectives.all_reduce_sum(values));
  }
  void on_gradients_final(std::int64_t begin, std::int64_t end) override {
    if (last_micro_batch) sync_.on_gradients_final(begin, end);
  }
  bool last_micro_batch = false;

 private:
  const World& world_;
  GradientSync& sync_;
};

Trainer::Trainer(World world, models::Model& model, OptimizerState& optimizer, const BatchShape& shape,
                 TrainerOptions options, std::size_t arena_bytes, ImportanceSampler* sampler)
    : world_(world),
      model_(model),
      optimizer_(optimizer),
      options_(std::move(options)),
      sampler_(sampler),
      guard_(options_.guard),
      specs_(model.metrics()),
      device_batch_(world.backend, shape),
      sync_(world.collectives, model.parameters().grad_block(),
            optimizer.sharded() ? optimizer.layout()
                                : BlockLayout(model.parameters().elements(), world.ranks.size(), world.ranks.rank(),
                                              options_.bucket_elements),
            optimizer.sharded() ? SumTo::slices : SumTo::every_rank),
      hooks_(std::make_unique<Hooks>(world_, sync_)),
      small_memory_(world.backend.allocate(static_cast<std::size_t>(StepScalars::kSlots + kMaxMetricSlots + 2) * 4)),
      scalars_(TensorView(small_memory_.data(), DType::float32, Shape{StepScalars::kSlots}, world.backend.device())),
      arena_(world.backend.allocate(arena_bytes), world.backend.device()),
      metrics_(new_sums()),
      host_slots_(static_cast<std::size_t>(model.metric_slots()) + 1) {
  check(model.metric_slots() <= kMaxMetricSlots, "a model has few metric slots");
  const TensorView all(small_memory_.data(), DType::float32, Shape{StepScalars::kSlots + kMaxMetricSlots + 2},
                       world.backend.device());
  metric_slots_ = all.slice(StepScalars::kSlots, model.metric_slots());
  squared_norm_ = all.slice(StepScalars::kSlots + model.metric_slots(), 1);
  share_ = all.slice(StepScalars::kSlots + kMaxMetricSlots + 1, 1);
}

Trainer::~Trainer() = default;

nn::StepContext Trainer::context(std::uint32_t seed) {
  return {.backend = world_.backend,
          .arena = arena_,
          .scalars = scalars_,
          .hooks = hooks_.get(),
          .seed = seed,
          .activation = options_.activation,
          .residual = options_.residual,
          .recompute = options_.recompute,
          .metrics = metric_slots_};
}

// Gives the factor that turns the summed gradient into the gradient of the mean loss.
double Trainer::set_scalars(const data::StepBatches& batches) {
  double loss_scale = 1.0, gradient_scale = 1.0;
  if (model_.loss_count() == models::LossCount::residues) {
    loss_scale = 1.0 / static_cast<double>(std::max<std::int64_t>(batches.num_residues, 1));
  } else {
    std::int64_t targets = 0;
    for (const auto& batch : batches.micro_batches) targets += batch.num_targets;
    world_.ranks.all_reduce_sum(std::span<std::int64_t>(&targets, 1));
    gradient_scale = 1.0 / static_cast<double>(std::max<std::int64_t>(targets, 1));
  }
  const auto n = static_cast<double>(state_.optimizer_steps + 1);
  const auto& adam = optimizer_.options();
  const auto set = [&](StepScalars::Slot slot, double value) { scalars_.set(slot, static_cast<float>(value)); };
  set(StepScalars::learning_rate, options_.learning_rate.at(state_.step + 1));
  set(StepScalars::bias_correction1, 1.0 - std::pow(adam.beta1, n));
  set(StepScalars::bias_correction2, 1.0 - std::pow(adam.beta2, n));
  set(StepScalars::gradient_scale, gradient_scale);
  set(StepScalars::clip_norm, options_.clip_norm);
  set(StepScalars::ema_decay, std::min(options_.ema_decay, (1.0 + n) / (10.0 + n)));
  set(StepScalars::skip, 0.0);
  set(StepScalars::loss_scale, loss_scale);
  scalars_.upload(world_.backend);
  return gradient_scale;
}

void Trainer::draw_times(data::HostBatch& batch) const {
  if (!sampler_) return;
  for (std::size_t slot = 0; slot < batch.sequences.size(); ++slot) {
    const auto draw = sampler_->draw(options_.seed, static_cast<std::uint64_t>(batch.sequences[slot].visit));
    batch.sequence_time()[slot] = static_cast<float>(options_.effective_time(draw.time));
    batch.sequence_weight()[slot] = draw.weight;
  }
}

void Trainer::run_micro_batch(data::StepBatches& batches, std::size_t index) {
  auto& batch = batches.micro_batches[index];
  draw_times(batch);
  if (options_.prepare) options_.prepare(batch, false);
  const auto& views = device_batch_.upload(batch);
  shares_[index] = static_cast<float>(static_cast<double>(batch.num_residues) /
                                      static_cast<double>(std::max<std::int64_t>(batches.num_residues, 1)));
  world_.backend.copy_to_device(share_, &shares_[index]);
  hooks_->last_micro_batch = index + 1 == batches.micro_batches.size();
  if (hooks_->last_micro_batch) sync_.begin();
  auto step = context(options_.seed);
  model_.forward_backward(step, views, share_);
  const auto losses = model_.sequence_losses();
  if (!sampler_ || !losses.present()) return;
  sequence_losses_[index].resize(static_cast<std::size_t>(losses.elements()));
  world_.backend.copy_to_host(sequence_losses_[index].data(), losses);
}

void Trainer::run_backward(data::StepBatches& batches) {
  const auto begin = std::chrono::steady_clock::now();
  auto& backend = world_.backend;
  const auto gradients = model_.parameters().grad_block();
  backend.pointwise().run(Fill{.y = gradients});
  backend.pointwise().run(Fill{.y = metric_slots_});
  backend.pointwise().run(Fill{.y = squared_norm_});
  // Before backward, which adds to it: the sums over ranks begin while it runs.
  if (poison_point("train.gradients"))
    backend.pointwise().run(Fill{.y = gradients.slice(0, 1), .value = std::numeric_limits<float>::quiet_NaN()});
  shares_.resize(batches.micro_batches.size());
  sequence_losses_.resize(batches.micro_batches.size());
  for (std::size_t index = 0; index < batches.micro_batches.size(); ++index) run_micro_batch(batches, index);
  busy_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  sync_.finish();
  find_gradient_norm();
}

// Each rank adds up its share: the same sums in the same order whether or not the optimizer is sharded.
void Trainer::find_gradient_norm() {
  add_squared_norm(world_.backend, model_.parameters().grad_block(), sync_.layout(), squared_norm_);
  if (world_.ranks.size() > 1) world_.collectives.wait(world_.collectives.all_reduce_sum(squared_norm_));
}

StepReport Trainer::step(data::StepBatches& batches, const std::function<Votes()>& ask) {
  auto& backend = world_.backend;
  check(!batches.micro_batches.empty(), "every rank has a micro-batch in every step");
  const double gradient_scale = set_scalars(batches);
  run_backward(batches);
  const auto slots = static_cast<std::int64_t>(host_slots_.size()) - 1;
  backend.copy_to_host(host_slots_.data(), metric_slots_);
  backend.copy_to_host(host_slots_.data() + slots, squared_norm_);
  backend.synchronize();
  world_.collectives.throw_if_failed();
  // The one wait of a step stands before the update, so that the host decides on it; the device makes the update while
  // the host prepares the next step.
  StepReport report;
  report.learning_rate = static_cast<double>(scalars_.get(StepScalars::learning_rate));
  const auto counts = counts_of(batches);
  reduce_and_judge(counts, static_cast<double>(host_slots_.back()), gradient_scale, report, ask);
  if (!report.skipped) optimizer_.step(scalars_.all(), squared_norm_);
  observe_losses(batches);
  if (sampler_) sampler_->finish_step(world_.ranks, report.skipped);
  note_outcome(batches, counts, report);
  return report;
}

void Trainer::observe_losses(const data::StepBatches& batches) {
  if (!sampler_) return;
  for (std::size_t index = 0; index < batches.micro_batches.size(); ++index) {
    const auto& sequences = batches.micro_batches[index].sequences;
    for (std::size_t slot = 0; slot < sequences.size() && slot < sequence_losses_[index].size(); ++slot) {
      if (sequences[slot].residues == 0) continue;
      const auto draw = sampler_->draw(options_.seed, static_cast<std::uint64_t>(sequences[slot].visit));
      sampler_->observe(draw.time, sequence_losses_[index][slot]);
    }
  }
}

void Trainer::evaluate(data::HostBatch& batch, std::uint32_t seed, std::optional<float> fixed_time, MetricSums& sums) {
  auto& backend = world_.backend;
  models::EvaluateOptions options;
  if (fixed_time) options.fixed_time = static_cast<float>(options_.effective_time(*fixed_time));
  if (sampler_)
    for (std::size_t slot = 0; slot < batch.sequences.size(); ++slot) {
      const auto visit = static_cast<std::uint64_t>(batch.sequences[slot].visit);
      const float time = fixed_time ? *fixed_time : ImportanceSampler::draw_uniform(seed, visit).time;
      batch.sequence_time()[slot] = static_cast<float>(options_.effective_time(time));
      batch.sequence_weight()[slot] = 1.0F;
    }
  if (options_.prepare) options_.prepare(batch, true);
  const auto& views = device_batch_.upload(batch);
  const auto residues = static_cast<float>(batch.num_residues);
  backend.copy_to_device(share_, &residues);
  options.micro_batch_share = share_;
  backend.pointwise().run(Fill{.y = metric_slots_});
  hooks_->last_micro_batch = false;
  auto step = context(seed);
  model_.evaluate(step, views, options);
  backend.copy_to_host(host_slots_.data(), metric_slots_);
  backend.synchronize();
  sums.add(std::span<const float>(host_slots_).first(host_slots_.size() - 1),
           {.shares = static_cast<double>(residues),
            .residues = static_cast<double>(batch.num_residues),
            .targets = static_cast<double>(batch.num_targets)});
}

}  // namespace lsd::train
