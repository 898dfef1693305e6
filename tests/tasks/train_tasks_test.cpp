// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/io/checkpoint.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/train/importance_sampler.h"
#include "lsd/train/latent_moments.h"
#include "support/expect_error.h"
#include "support/metric_lines.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

using testing::expect_error;
using testing::run_task;
using testing::small_autoencoder;
using testing::small_diffusion;
using testing::TemporaryFolder;

// Without what a clock decides.
std::vector<nlohmann::ordered_json> metric_lines(const std::filesystem::path& folder) {
  auto lines = testing::metric_lines(folder);
  for (auto& line : lines)
    for (const auto* key :
         {"tokens_per_second", "busy_seconds_median", "busy_seconds_slowest", "slowest_rank_by_busy_seconds"})
      line.erase(key);
  return lines;
}

void expect_equal_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto first = io::open_checkpoint_at(a), second = io::open_checkpoint_at(b);
  EXPECT_EQ(first.state.extra_json, second.state.extra_json);
  ASSERT_EQ(first.files.size(), second.files.size());
  for (const auto& [name, file] : first.files)
    EXPECT_TRUE(read_text_file(first.path / name) == read_text_file(second.path / name)) << name;
}

class TrainTasks : public ::testing::Test {
 protected:
  std::filesystem::path autoencoder(const std::string& variant) {
    const auto path = folder_ / variant;
    EXPECT_EQ(run_task(train_autoencoder, small_autoencoder(variant, shards_, path)), Outcome::done);
    return path;
  }
  std::string dump(const std::filesystem::path& encoder, const std::string& split, const std::string& name,
                   const std::function<void(DumpLatentsConfig&)>& change = {}) {
    DumpLatentsConfig config;
    config.features.autoencoder = encoder.string();
    config.features.capacity = 160;
    config.input.shards = shards_.string();
    config.input.split = split;
    config.output.directory = (folder_ / name).string();
    config.output.element = "float32";
    if (change) change(config);
    EXPECT_EQ(run_task(dump_latents, config), Outcome::done);
    return config.output.directory;
  }
  TrainDiffusionConfig on_stored(const std::string& train, const std::string& valid, const std::string& run) {
    auto config = small_diffusion("", shards_, folder_ / run);
    config.latents.source = "stored";
    config.latents.dump = train;
    config.latents.valid_dump = valid;
    return config;
  }
  TemporaryFolder folder_;
  std::filesystem::path shards_ = testing::make_shards(folder_ / "data", 60, 30);
};

TEST_F(TrainTasks, EveryVariantTrainsAndLeavesAWholeRunDirectory) {
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    SCOPED_TRACE(variant);
    const auto path = autoencoder(variant);
    for (const auto* name : {"config.cfg", "environment.json", "metrics.jsonl", "DONE", "checkpoints/latest"})
      EXPECT_TRUE(std::filesystem::exists(path / name)) << name;
    const auto lines = metric_lines(path);
    ASSERT_EQ(lines.size(), 5U);  // steps 2, 4, 6 and validation at 3 and 6
    for (const auto* key : {"loss", "accuracy", "gradient_norm", "learning_rate", "tokens"})
      EXPECT_TRUE(lines[0].contains(key)) << key;
    EXPECT_EQ(lines.back()["kind"], "validation");
    EXPECT_EQ(lines.back().contains("accuracy@0.5"), variant != "mlm");
    EXPECT_EQ(load_config<TrainAutoencoderConfig>({path / "config.cfg"}).model.variant, variant);
  }
}

TEST_F(TrainTasks, DiffusionResumesBitForBitWithItsSamplerAndMovingAverage) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const auto name = std::to_string(ranks);
    const auto encoder = ranks == 1 ? autoencoder("nm") : folder_ / "nm";
    auto whole = small_diffusion(encoder, shards_, folder_ / ("whole" + name));
    auto cut = small_diffusion(encoder, shards_, folder_ / ("cut" + name));
    EXPECT_EQ(run_task(train_diffusion, whole, ranks), Outcome::done);
    cut.run.stop_after = 3;
    EXPECT_EQ(run_task(train_diffusion, cut, ranks), Outcome::stopped);
    cut.run.stop_after = 0;
    EXPECT_EQ(run_task(train_diffusion, cut, ranks), Outcome::done);
    EXPECT_EQ(metric_lines(whole.run.directory), metric_lines(cut.run.directory));
    expect_equal_checkpoints(whole.run.directory, cut.run.directory);
    const auto checkpoint = io::open_checkpoint_at(cut.run.directory);
    for (const auto* file : {"ema.safetensors", train::kMomentsFile})
      EXPECT_TRUE(checkpoint.files.contains(file)) << file;
    const auto sampler = nlohmann::json::parse(checkpoint.state.extra_json).at("importance_sampler");
    double seen = 0.0;
    for (std::size_t i = 100; i < 200; ++i) seen += sampler[i].get<double>();
    EXPECT_GT(seen, 10.0) << "the histogram holds the losses of the steps before the last";
  }
}

TEST_F(TrainTasks, StoredLatentsTrainLikeRecomputedOnes) {
  const auto encoder = autoencoder("nm");
  const auto stored = on_stored(dump(encoder, "train", "dump_train"), dump(encoder, "valid", "dump_valid"), "stored");
  auto recomputed = small_diffusion(encoder, shards_, folder_ / "recomputed");
  recomputed.latents.moments = stored.latents.dump;
  EXPECT_EQ(run_task(train_diffusion, recomputed), Outcome::done);
  EXPECT_EQ(run_task(train_diffusion, stored), Outcome::done);
  const auto a = metric_lines(recomputed.run.directory), b = metric_lines(stored.run.directory);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(b[i]["loss"].get<double>(), a[i]["loss"].get<double>(), 2e-5 * std::abs(a[i]["loss"].get<double>()))
        << "no sequence here is cropped";
}

// The autoencoder's own residual stream is float32, the denoiser's bfloat16: stored latents know nothing of the latter.
TEST_F(TrainTasks, RecomputedLatentsAreTheEncodersOwnWhateverTheDenoiserComputesIn) {
  const auto encoder = autoencoder("nm");
  const auto rounded = [](DumpLatentsConfig& config) { config.features.activation = "bfloat16"; };
  auto stored =
      on_stored(dump(encoder, "train", "dump_train", rounded), dump(encoder, "valid", "dump_valid", rounded), "stored");
  auto recomputed = small_diffusion(encoder, shards_, folder_ / "recomputed");
  recomputed.latents.moments = stored.latents.dump;
  for (auto* config : {&stored, &recomputed}) config->compute.activation = config->compute.residual = "bfloat16";
  EXPECT_EQ(run_task(train_diffusion, recomputed), Outcome::done);
  EXPECT_EQ(run_task(train_diffusion, stored), Outcome::done);
  const auto a = metric_lines(recomputed.run.directory), b = metric_lines(stored.run.directory);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(b[i]["loss"].get<double>(), a[i]["loss"].get<double>(), 2e-5 * std::abs(a[i]["loss"].get<double>()));
}

TEST_F(TrainTasks, AModelTrainedInBfloat16IsUsedInFloat32) {
  auto config = small_autoencoder("nm", shards_, folder_ / "nm");
  config.compute.activation = config.compute.residual = "bfloat16";
  EXPECT_EQ(run_task(train_autoencoder, config), Outcome::done);
  const auto moments = dump(folder_ / "nm", "train", "dump", [](DumpLatentsConfig& dump) {
    dump.features.activation = "float32";
    dump.output.mode = "moments";
  });
  auto diffusion = small_diffusion(folder_ / "nm", shards_, folder_ / "diffusion");
  diffusion.latents.moments = moments;
  EXPECT_EQ(run_task(train_diffusion, diffusion), Outcome::done);
  diffusion.compute.residual = "bfloat16";
  expect_error<UserError>([&] { diffusion.compute.validate(); }, {"residual", "bfloat16", "activation"});
}

TEST_F(TrainTasks, DiffusionRefusesAnEncoderThatChanged) {
  const auto encoder = autoencoder("nm");
  auto config = small_diffusion(encoder, shards_, folder_ / "diffusion");
  config.run.stop_after = 2;
  EXPECT_EQ(run_task(train_diffusion, config), Outcome::stopped);
  std::filesystem::remove_all(encoder);
  auto other = small_autoencoder("nm", shards_, encoder);
  other.run.seed = 2;
  EXPECT_EQ(run_task(train_autoencoder, other), Outcome::done);
  config.run.stop_after = 0;
  expect_error<UserError>([&] { run_task(train_diffusion, config); }, {"another autoencoder"});
}

TEST_F(TrainTasks, LatentsOfDifferentAutoencodersAreRefused) {
  const auto nm = autoencoder("nm"), mlm = autoencoder("mlm");
  const auto train = dump(nm, "train", "nm_train"), valid = dump(nm, "valid", "nm_valid"),
             other = dump(mlm, "valid", "mlm_valid");
  const auto fingerprint = [](const std::string& folder) {
    return io::read_embedding_manifest(folder).identity.weights;
  };
  const auto expect_refused = [&](const TrainDiffusionConfig& config, const std::string& option,
                                  const std::string& value, const std::string& first) {
    expect_error<UserError>([&] { run_task(train_diffusion, config); },
                            {option + " = " + value, first, fingerprint(train), fingerprint(other)});
    EXPECT_FALSE(std::filesystem::exists(config.run.directory)) << "refused before anything is written";
  };
  expect_refused(on_stored(train, other, "run"), "latents.valid_dump", other, "latents.dump = " + train);
  auto config = on_stored(train, valid, "run");
  config.latents.moments = other;
  expect_refused(config, "latents.moments", other, "latents.dump = " + train);
  config = on_stored(train, valid, "run");
  config.latents.autoencoder = mlm.string();
  expect_refused(config, "latents.autoencoder", mlm.string(), "latents.dump = " + train);
  auto recomputed = small_diffusion(nm, shards_, folder_ / "run");
  recomputed.latents.moments = other;
  expect_refused(recomputed, "latents.moments", other, "latents.autoencoder = " + nm.string());

  config.latents.autoencoder = nm.string();
  config.latents.moments = train;
  EXPECT_EQ(run_task(train_diffusion, config), Outcome::done) << "all of one autoencoder";
  config.run.directory = (folder_ / "again").string();
  config.latents.moments = dump(nm, "valid", "denoised", [&](DumpLatentsConfig& change) {
    change.features.diffusion = (folder_ / "run").string();
    change.features.representation = "denoised";
    change.features.time = 0.3;
    change.output.mode = "moments";
  });
  expect_error<UserError>([&] { run_task(train_diffusion, config); },
                          {"latents.moments = " + config.latents.moments, "representation denoised"});
}

TEST_F(TrainTasks, TheLogTellsWhereMomentsComeFrom) {
  auto config = small_diffusion(autoencoder("nm"), shards_, folder_ / "run");
  const auto log_of = [&](std::int64_t micro_batches) {
    std::filesystem::remove_all(config.run.directory);
    config.latents.moment_micro_batches = micro_batches;
    ::testing::internal::CaptureStderr();
    run_task(train_diffusion, config, 1, "reference", false);
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(log_of(4).find("over the first 4 micro-batches of the training split"), std::string::npos);
  EXPECT_NE(log_of(0).find("one pass over the training split"), std::string::npos);
}

TEST_F(TrainTasks, MissingInputsAreNamed) {
  expect_error<UserError>([&] { small_diffusion("", shards_, folder_ / "d").latents.validate(); },
                          {"latents.autoencoder"});
  EXPECT_THROW(run_task(train_diffusion, small_diffusion(folder_ / "nothing", shards_, folder_ / "d")), Error);
  expect_error<DataError>(
      [&] { run_task(train_autoencoder, small_autoencoder("nm", folder_ / "none", folder_ / "a")); }, {"none"});
  auto global = small_autoencoder("nm", shards_, folder_ / "b");
  global.model.moments = "global";
  expect_error<UserError>([&] { run_task(train_autoencoder, global); }, {"moments = global", "micro_batches = 1"});
}

}  // namespace
}  // namespace lsd::tasks
