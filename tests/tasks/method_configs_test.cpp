// SPDX-License-Identifier: Apache-2.0
// What the method prescribes of sizes, optimizer, losses and masking, written out once more: a default or a shipped
// config that comes to say something else is found here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "lsd/data/shard_set.h"
#include "lsd/models/build_model.h"
#include "lsd/train/memory_plan.h"
#include "lsd/train/training_run.h"
#include "support/metric_lines.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(LSD_TESTS_FOLDER).parent_path() / "configs";

struct Size {
  const char* name;
  std::int64_t width, heads, encoder, decoder, denoiser;
  double millions;  // parameters of the autoencoder, about
};
constexpr Size kSizes[] = {{"nano", 128, 4, 2, 2, 2, 0.8},
                           {"s", 512, 8, 6, 6, 12, 38},
                           {"m", 768, 12, 12, 12, 24, 170},
                           {"l", 1280, 20, 16, 16, 32, 630}};

// The shipped configs of the three variants by name: TrainAutoencoderConfig's, or those of the diffusion on them.
template <class Config>
std::map<std::string, Config> shipped(const std::string& folder, const std::string& size) {
  const std::string prefix = std::is_same_v<Config, TrainDiffusionConfig> ? "diffusion_" : "";
  std::map<std::string, Config> configs;
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    const auto name = folder + prefix + variant + (size.empty() ? "" : "_" + size) + ".cfg";
    configs.emplace(name, load_config<Config>({kConfigs / name}));
  }
  return configs;
}

// Of one size at full length; nano is there for small data only.
template <class Config>
std::map<std::string, Config> shipped_at(const Size& size) {
  return shipped<Config>(size.name == std::string("nano") ? "local/" : "", size.name);
}

template <class Config>
std::map<std::string, Config> full_runs() {
  std::map<std::string, Config> configs;
  for (const auto* size : {"s", "m", "l"}) configs.merge(shipped<Config>("", size));
  return configs;
}

template <class Config>
std::map<std::string, Config> local_runs() {
  std::map<std::string, Config> configs;
  for (const auto* size : {"nano", "s"}) configs.merge(shipped<Config>("local/", size));
  return configs;
}

template <class Config>
std::map<std::string, Config> all_runs_and_the_default() {
  std::map<std::string, Config> configs = shipped<Config>("demo/", "");
  configs.merge(full_runs<Config>());
  configs.merge(local_runs<Config>());
  configs.emplace("the default", Config{});
  return configs;
}

TEST(MethodConfigs, EverySizeHasTheShapeOfItsName) {
  for (const auto& size : kSizes) {
    for (const auto& [name, config] : shipped_at<TrainAutoencoderConfig>(size)) {
      SCOPED_TRACE(name);
      EXPECT_EQ(config.model.width, size.width);
      EXPECT_EQ(config.model.heads, size.heads);
      EXPECT_EQ(config.model.encoder_layers, size.encoder);
      EXPECT_EQ(config.model.decoder_layers, size.decoder);
    }
    for (const auto& [name, config] : shipped_at<TrainDiffusionConfig>(size)) {
      SCOPED_TRACE(name);
      EXPECT_EQ(config.model.width, size.width);
      EXPECT_EQ(config.model.heads, size.heads);
      EXPECT_EQ(config.model.layers, size.denoiser);
    }
  }
}

// A block of width d: query, key and value 3 d d + 3 d, out d d + d, up 4 d d + 4 d, down 4 d d + d, two norms with
// gain and bias 4 d.
std::int64_t block_parameters(std::int64_t d) {
  return 12 * d * d + 13 * d;
}
// A vector for each of 33 tokens, the blocks, the final norm.
std::int64_t encoder_parameters(const Size& size) {
  return 33 * size.width + size.encoder * block_parameters(size.width) + 2 * size.width;
}
// Encoder, latent map, the decoder's blocks and norm, a head of 33 logits.
std::int64_t autoencoder_parameters(const Size& size) {
  const auto d = size.width;
  return encoder_parameters(size) + d * d + d + size.decoder * block_parameters(d) + 2 * d + 33 * d + 33;
}
// Encoder, and ESM-2's head: a dense map, a norm, and of the logits the bias alone, since the weight is the embedding.
std::int64_t mlm_parameters(const Size& size) {
  const auto d = size.width;
  return encoder_parameters(size) + d * d + d + 2 * d + 33;
}

// As --run.memory_plan counts them: shapes alone, so that L takes no memory.
std::int64_t planned_parameters(const models::AutoencoderConfig& config) {
  const auto backend = backends::make_cpu_backend({.threads = 1, .plan_only = true});
  const train::BuildModel build = [&config](Backend& planning) {
    std::unique_ptr<models::Model> model = models::build_autoencoder(config);
    model->parameters().allocate(planning, DType::float32, true);
    return model;
  };
  return train::plan_memory(*backend, build, {.shape = {.capacity = 64, .max_sequences = 4, .max_length = 64}})
      .num_parameters;
}

TEST(MethodConfigs, EverySizeHasAsManyParametersAsItsShapeGives) {
  for (const auto& size : kSizes) {
    EXPECT_NEAR(static_cast<double>(autoencoder_parameters(size)) / 1e6, size.millions, 0.025 * size.millions);
    for (const auto& [name, config] : shipped_at<TrainAutoencoderConfig>(size)) {
      SCOPED_TRACE(name);
      const bool decodes = config.model.variant != "mlm";
      EXPECT_EQ(planned_parameters(config.model), decodes ? autoencoder_parameters(size) : mlm_parameters(size));
    }
  }
}

void expect_optimizer_of_the_method(const train::OptimizerConfig& optimizer, std::int64_t warmup_steps) {
  EXPECT_DOUBLE_EQ(optimizer.learning_rate, 4e-4);
  EXPECT_EQ(optimizer.warmup_steps, warmup_steps);
  EXPECT_DOUBLE_EQ(optimizer.final_fraction, 0.1);
  EXPECT_DOUBLE_EQ(optimizer.beta1, 0.9);
  EXPECT_DOUBLE_EQ(optimizer.beta2, 0.98);
  EXPECT_DOUBLE_EQ(optimizer.epsilon, 1e-8);
  EXPECT_DOUBLE_EQ(optimizer.weight_decay, 0.01);
  EXPECT_DOUBLE_EQ(optimizer.clip_norm, 1.0);
}

// 500 k steps of 1 M tokens (2^20) in micro-batches of 65,536, warm-up 2,000.
template <class Config>
void expect_full_run(const Config& config) {
  expect_optimizer_of_the_method(config.optimizer, 2000);
  EXPECT_EQ(config.training.steps, 500000);
  EXPECT_EQ(config.training.capacity, 65536);
  EXPECT_EQ(config.training.capacity * config.training.micro_batches, 1048576);
  EXPECT_EQ(config.data.max_length, 1024);
}

TEST(MethodConfigs, FullRunsHaveTheMethodsScheduleAndBatches) {
  for (const auto& [name, config] : full_runs<TrainAutoencoderConfig>()) {
    SCOPED_TRACE(name);
    expect_full_run(config);
  }
  for (const auto& [name, config] : full_runs<TrainDiffusionConfig>()) {
    SCOPED_TRACE(name);
    expect_full_run(config);
  }
}

TEST(MethodConfigs, DefaultsAreThoseOfAFullRun) {
  expect_full_run(TrainAutoencoderConfig{});
  expect_full_run(TrainDiffusionConfig{});
  // Those of the library's own parts, for who uses them without a config.
  const train::AdamWOptions adam;
  EXPECT_DOUBLE_EQ(adam.beta1, 0.9);
  EXPECT_DOUBLE_EQ(adam.beta2, 0.98);
  EXPECT_DOUBLE_EQ(adam.epsilon, 1e-8);
  EXPECT_DOUBLE_EQ(adam.weight_decay, 0.01);
  const train::LearningRate rate;
  EXPECT_DOUBLE_EQ(rate.peak, 4e-4);
  EXPECT_EQ(rate.warmup_steps, 2000);
  EXPECT_DOUBLE_EQ(rate.final_fraction, 0.1);
  EXPECT_DOUBLE_EQ(train::TrainerOptions{}.clip_norm, 1.0);
  EXPECT_EQ(data::PackingOptions{}.capacity, 65536);
  EXPECT_EQ(data::PackingOptions{}.max_length, 1024);
}

// 65 k tokens (2^16) a step, warm-up 200, and one number of steps for all of them, so that their results compare.
template <class Config>
void expect_local_run(const Config& config, std::int64_t steps) {
  expect_optimizer_of_the_method(config.optimizer, 200);
  EXPECT_EQ(config.training.capacity * config.training.micro_batches, 65536);
  EXPECT_EQ(config.training.steps, steps);
  EXPECT_EQ(config.data.max_length, 1024);
}

TEST(MethodConfigs, RunsOnSmallDataHaveSmallBatchesAShortWarmUpAndFixedSteps) {
  const auto steps = load_config<TrainAutoencoderConfig>({kConfigs / "local/nm_nano.cfg"}).training.steps;
  EXPECT_LT(steps, 500000);
  for (const auto& [name, config] : local_runs<TrainAutoencoderConfig>()) {
    SCOPED_TRACE(name);
    expect_local_run(config, steps);
  }
  for (const auto& [name, config] : local_runs<TrainDiffusionConfig>()) {
    SCOPED_TRACE(name);
    expect_local_run(config, steps);
  }
}

TEST(MethodConfigs, AutoencodersHaveTheMethodsLossesUnlessAskedForOthers) {
  for (const auto& [name, config] : all_runs_and_the_default<TrainAutoencoderConfig>()) {
    SCOPED_TRACE(name);
    EXPECT_EQ(config.model.gelu, "tanh");
    EXPECT_DOUBLE_EQ(config.model.lambda, 1.0);
    EXPECT_EQ(config.model.norm, "univariate");
    EXPECT_EQ(config.model.moments, "micro_batch");
    EXPECT_EQ(config.model.min_count, 32);
    EXPECT_DOUBLE_EQ(config.model.shrinkage, 1e-3);
    EXPECT_DOUBLE_EQ(config.model.variance_floor, 1e-6);
    EXPECT_DOUBLE_EQ(config.masking.probability, 0.15);
    EXPECT_DOUBLE_EQ(config.masking.mask_share, 0.8);
    EXPECT_DOUBLE_EQ(config.masking.random_share, 0.1);
    EXPECT_FALSE(config.masking.token_dropout);
    EXPECT_THAT(config.validation.times, ::testing::ElementsAre(0.0, 0.25, 0.5, 0.75));
  }
}

TEST(MethodConfigs, DiffusionHasTheMethodsProcessUnlessAskedForAnother) {
  for (const auto& [name, config] : all_runs_and_the_default<TrainDiffusionConfig>()) {
    SCOPED_TRACE(name);
    EXPECT_EQ(config.model.gelu, "tanh");
    EXPECT_EQ(config.model.schedule, "cosine");
    EXPECT_EQ(config.sampling.importance, "loss_rms");
    EXPECT_DOUBLE_EQ(config.sampling.uniform_share, 0.01);
    EXPECT_DOUBLE_EQ(config.sampling.decay, 0.99);
    EXPECT_EQ(config.sampling.warmup_losses, 10);
    EXPECT_DOUBLE_EQ(config.ema.decay, 0.9999);
    EXPECT_THAT(config.validation.times, ::testing::ElementsAre(0.0, 0.25, 0.5, 0.75));
  }
}

// A training of the MLM baseline that is put together here, with masking of its own.
struct HandMade {
  TrainAutoencoderConfig config;
  data::MaskingOptions masking;
};

Outcome train_by_hand(const HandMade& made, Runtime& runtime) {
  const auto& config = made.config;
  train::TrainingJob job{
      .world = {runtime.ranks, *runtime.collectives, *runtime.backend}, .log = runtime.log, .stop = runtime.stop};
  job.program = "test";
  job.fingerprint = "put together by hand";
  job.run = config.run;
  job.optimizer = config.optimizer;
  job.training = config.training;
  job.validation = config.validation;
  job.checkpoint = config.checkpoint;
  job.packing.max_length = config.data.max_length;
  job.content.masking = made.masking;
  job.train = data::open_shard_split(config.data.shards, "train");
  job.build = [model = config.model](Backend& backend) {
    std::unique_ptr<models::Model> built = models::build_autoencoder(model);
    built->parameters().allocate(backend, DType::float32, true);
    return built;
  };
  return train::run_training(std::move(job)) ? Outcome::done : Outcome::stopped;
}

class MlmMaskingTest : public ::testing::Test {
 protected:
  TrainAutoencoderConfig config(const std::string& name) const {
    auto config = testing::small_autoencoder("mlm", shards_, folder_ / name);
    config.training = {.steps = 2, .capacity = 1024, .micro_batches = 2, .log_every = 1};
    config.optimizer.warmup_steps = 1;
    config.validation.every_steps = 0;
    return config;
  }
  // Losses, accuracies and gradient norms of both steps: every choice of a target and of what takes its place enters.
  std::vector<nlohmann::ordered_json> steps_of(const std::string& name) const {
    auto lines = testing::metric_lines(folder_ / name);
    for (auto& line : lines) line.erase("tokens_per_second");
    return lines;
  }
  std::vector<nlohmann::ordered_json> by_program(const std::string& name, const MaskingConfig& masking) const {
    auto chosen = config(name);
    chosen.masking = masking;
    EXPECT_EQ(testing::run_task(train_autoencoder, chosen, 1, "cpu"), Outcome::done);
    return steps_of(name);
  }
  std::vector<nlohmann::ordered_json> by_hand(const std::string& name, const data::MaskingOptions& masking) const {
    EXPECT_EQ(testing::run_task(train_by_hand, HandMade{config(name), masking}, 1, "cpu"), Outcome::done);
    return steps_of(name);
  }

  testing::TemporaryFolder folder_;
  fs::path shards_ = testing::make_shards(folder_ / "data", 60, 30);
};

TEST_F(MlmMaskingTest, TheProgramMasksByDefaultAsTheMethodSays) {
  const auto program = by_program("program", {});
  ASSERT_EQ(program.size(), 2U);
  EXPECT_EQ(program, by_hand("method", {.probability = 0.15, .mask_share = 0.8, .random_share = 0.1}));
  // Any other share shows in these numbers.
  EXPECT_NE(program, by_hand("fewer", {.probability = 0.12, .mask_share = 0.8, .random_share = 0.1}));
  EXPECT_NE(program, by_hand("less_masked", {.probability = 0.15, .mask_share = 0.7, .random_share = 0.1}));
  EXPECT_NE(program, by_hand("more_random", {.probability = 0.15, .mask_share = 0.8, .random_share = 0.2}));
}

TEST_F(MlmMaskingTest, TheProgramMasksAsItsConfigSays) {
  EXPECT_EQ(by_program("program", {.probability = 0.3, .mask_share = 0.5, .random_share = 0.4}),
            by_hand("hand", {.probability = 0.3, .mask_share = 0.5, .random_share = 0.4}));
}

}  // namespace
}  // namespace lsd::tasks
