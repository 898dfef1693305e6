// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/step_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"
#include "lsd/models/build_model.h"
#include "lsd/train/training_run.h"
#include "op_parts_internal.h"

namespace lsd::tasks {
namespace {

struct Size {
  std::int64_t width, heads, encoder, decoder, denoiser;
};
const std::map<std::string, Size> kSizes = {{"nano", {128, 4, 2, 2, 2}},
                                            {"s", {512, 8, 6, 6, 12}},
                                            {"m", {768, 12, 12, 12, 24}},
                                            {"l", {1280, 20, 16, 16, 32}}};

std::vector<std::int64_t> read_lengths(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw UserError("cannot read " + path + "; give a file with one length a line");
  std::vector<std::int64_t> lengths;
  for (std::int64_t length = 0; file >> length;) {
    if (length < 3)
      throw DataError(path + ": " + std::to_string(length) + " is no length: <cls> and <eos> alone take 2");
    lengths.push_back(length);
  }
  if (lengths.empty() || !file.eof()) throw DataError(path + ": one whole number a line is expected");
  return lengths;
}

// Log-normal with median 230 residues and at most 1,024 tokens, as UniRef50's lengths are.
std::vector<std::int64_t> draw_lengths(std::int64_t tokens) {
  std::vector<std::int64_t> lengths;
  const auto key = random_key(1, RandomStream::sample);
  for (std::uint64_t visit = 0; tokens >= 32; ++visit) {
    const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(random_uniform(key, 0, visit))));
    const double normal =
        radius * std::cos(2.0 * std::numbers::pi * static_cast<double>(random_uniform(key, 1, visit)));
    const auto length = static_cast<std::int64_t>(230.0 * std::exp(0.65 * normal));
    lengths.push_back(std::min(std::clamp<std::int64_t>(length, 32, 1024), tokens));
    tokens -= lengths.back();
  }
  return lengths;
}

std::shared_ptr<const data::SequenceSource> random_source(const std::vector<std::int64_t>& lengths) {
  std::vector<std::vector<std::uint8_t>> sequences;
  const auto key = random_key(2, RandomStream::sample);
  for (std::size_t record = 0; record < lengths.size(); ++record) {
    std::vector<std::uint8_t> residues(static_cast<std::size_t>(lengths[record] - 2));
    for (std::uint32_t i = 0; i < residues.size(); ++i)
      residues[i] =
          static_cast<std::uint8_t>(data::kFirstAminoAcid + bounded_from_word(random_word(key, i, record), 20));
    sequences.push_back(std::move(residues));
  }
  return data::make_memory_source(std::move(sequences));
}

// A denoiser on latents that stand ready in device memory, as from a dump that is read ahead.
class ReadyLatents : public models::Model {
 public:
  ReadyLatents(Backend& backend, std::unique_ptr<models::Denoiser> denoiser, std::int64_t rows, DType type)
      : denoiser_(std::move(denoiser)),
        memory_(backend.allocate(static_cast<std::size_t>(rows * denoiser_->latent_width() * size_of(type)))),
        latents_(memory_.data(), type, Shape{rows, denoiser_->latent_width()}, backend.device()) {
    backend.pointwise().run(Fill{.y = latents_, .value = 0.5F});
  }
  nn::ParameterStore& parameters() override { return denoiser_->parameters(); }
  models::LossCount loss_count() const override { return denoiser_->loss_count(); }
  int metric_slots() const override { return denoiser_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return denoiser_->metrics(); }
  ConstTensorView sequence_losses() const override { return denoiser_->sequence_losses(); }
  void forward_backward(nn::StepContext& step, const models::Batch& batch, ConstTensorView share) override {
    denoiser_->forward_backward(step, with_latents(batch), share);
  }
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions& options) override {
    denoiser_->evaluate(step, with_latents(batch), options);
  }

 private:
  models::Batch with_latents(models::Batch batch) const {
    batch.latents = latents_;
    return batch;
  }
  std::unique_ptr<models::Denoiser> denoiser_;
  DeviceMemory memory_;
  TensorView latents_;
};

// An encoder whose evaluation is the embedding pass: latents, then their means.
class EmbeddingPass : public models::Model {
 public:
  explicit EmbeddingPass(std::unique_ptr<models::Autoencoder> encoder) : encoder_(std::move(encoder)) {}
  nn::ParameterStore& parameters() override { return encoder_->parameters(); }
  models::LossCount loss_count() const override { return encoder_->loss_count(); }
  int metric_slots() const override { return encoder_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return encoder_->metrics(); }
  void forward_backward(nn::StepContext&, const models::Batch&, ConstTensorView) override {}
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions&) override {
    const ArenaScope scope(step.arena);
    const auto z = encoder_->encode(step, batch);
    const auto mean =
        step.arena.allocate(DType::float32, Shape{batch.layout.max_sequences(), encoder_->latent_width()});
    step.backend.reduce().run(
        SequenceMean{.x = z, .row_mask = batch.residue_mask, .layout = batch.layout, .mean = mean});
  }

 private:
  std::unique_ptr<models::Autoencoder> encoder_;
};

train::BuildModel builder(const StepBenchConfig& config, std::int64_t rows) {
  return [config, rows](Backend& backend) -> std::unique_ptr<models::Model> {
    const auto size = kSizes.at(config.model);
    const auto type = dtype_from_name(config.activation);
    if (config.work == "diffusion") {
      models::DenoiserConfig denoiser{.width = size.width, .heads = size.heads, .layers = size.denoiser};
      auto model = models::build_denoiser(denoiser, size.width);
      model->parameters().allocate(backend, type, true);
      return std::make_unique<ReadyLatents>(backend, std::move(model), rows, type);
    }
    models::AutoencoderConfig autoencoder{.variant = config.work == "dump" ? "nm" : config.work,
                                          .width = size.width,
                                          .heads = size.heads,
                                          .encoder_layers = size.encoder,
                                          .decoder_layers = size.decoder};
    auto model = models::build_autoencoder(autoencoder);
    model->parameters().allocate(backend, type, true);
    if (config.work == "dump") return std::make_unique<EmbeddingPass>(std::move(model));
    return model;
  };
}

data::StepBatches one_step(const std::shared_ptr<const data::SequenceSource>& source, const train::BatchShape& shape,
                           bool masked) {
  data::BatchLoaderOptions options;
  options.packing.capacity = shape.capacity;
  options.packing.max_sequences = shape.max_sequences;
  options.packing.max_length = 0;
  if (masked) options.content.masking = data::MaskingOptions{};
  data::BatchLoader loader(source, data::one_pass(*source, options, 1));
  auto step = loader.next();
  check(step.has_value(), "the source holds sequences");
  return std::move(*step);
}

double median_seconds(const StepBenchConfig& config, const std::function<void()>& step) {
  std::vector<double> times;
  for (std::int64_t index = 0; index < config.warmup + config.steps; ++index) {
    const auto begin = std::chrono::steady_clock::now();
    step();
    if (index >= config.warmup)
      times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// Not getrusage's: that one survives exec, so it may be the peak of the program that started this one.
std::int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

std::string report(const StepBenchConfig& config, const Backend& backend, const train::MemoryPlan& plan,
                   std::int64_t tokens, double seconds, const PartTimes& parts) {
  const auto resident = peak_resident_bytes();
  const auto rate = static_cast<double>(tokens) / seconds;
  if (!config.json)
    return fmt::format(
        "{} {} {} on {}: {} tokens in {:.2f} ms (median), {:.0f} tokens/s, {} planned, {} resident at most\n{}",
        config.work, config.model, config.activation, backend.description(), tokens, seconds * 1e3, rate,
        human_bytes(static_cast<double>(plan.total_bytes())), human_bytes(static_cast<double>(resident)),
        sentence_of(parts));
  nlohmann::ordered_json line = {{"program", "lsd_bench"},
                                 {"work", config.work},
                                 {"model", config.model},
                                 {"backend", backend.description()},
                                 {"activation", config.activation},
                                 {"tokens", tokens},
                                 {"step_ms", std::round(seconds * 1e5) / 1e2},
                                 {"tokens_per_s", std::round(rate)},
                                 {"planned_bytes", plan.total_bytes()},
                                 {"peak_resident_bytes", resident}};
  for (const auto& [part, milliseconds] : parts) line["parts_ms"][part] = std::round(milliseconds * 1e3) / 1e3;
  return line.dump() + "\n";
}

}  // namespace

StepBenchResult step_bench(const StepBenchConfig& config, Runtime& runtime) {
  auto& backend = *runtime.backend;
  const auto lengths = config.lengths.empty() ? draw_lengths(config.tokens) : read_lengths(config.lengths);
  std::int64_t tokens = 0;
  for (const auto length : lengths) tokens += length;
  const train::BatchShape shape{.capacity = tokens,
                                .max_sequences = static_cast<std::int64_t>(lengths.size()),
                                .max_length = *std::max_element(lengths.begin(), lengths.end())};
  const bool diffusion = config.work == "diffusion";
  const auto build = builder(config, shape.capacity);
  const train::PlanRequest request{.shape = shape,
                                   .activation = dtype_from_name(config.activation),
                                   .residual = dtype_from_name(config.residual),
                                   .recompute = train::recompute_from_name(config.recompute),
                                   .ema = diffusion};
  const auto plan = train::plan_memory(backend, build, request);
  backend.reserve_scratch(plan.scratch_bytes);
  const auto model = build(backend);
  train::OptimizerState optimizer(backend, model->parameters(), {.ema = diffusion});
  optimizer.initialise(model->parameters().initial_values(1));
  train::ImportanceSampler sampler(train::ImportanceSampler::Kind::loss_rms);
  train::Trainer trainer(
      {runtime.ranks, *runtime.collectives, backend}, *model, optimizer, shape,
      {.activation = request.activation, .residual = request.residual, .recompute = request.recompute},
      plan.activation_bytes, diffusion ? &sampler : nullptr);
  auto batches = one_step(random_source(lengths), shape, config.work == "mlm");
  auto sums = trainer.new_sums();
  const auto step = [&] {
    if (config.work == "dump")
      trainer.evaluate(batches.micro_batches.front(), 1, std::nullopt, sums);
    else
      trainer.step(batches);
  };
  const double seconds = median_seconds(config, step);
  return {report(config, backend, plan, tokens, seconds, config.parts ? time_parts(backend, step) : PartTimes{})};
}

}  // namespace lsd::tasks
