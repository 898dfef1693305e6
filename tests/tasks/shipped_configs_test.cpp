// SPDX-License-Identifier: Apache-2.0
// Every training config that is shipped: it parses, and either runs two steps at its shape or, where that would take a
// bigger machine, has a memory plan.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>

#include "lsd/train/memory_plan.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(LSD_TESTS_FOLDER).parent_path() / "configs";

// Relative names of all configs but the parts that others include.
std::vector<std::string> shipped() {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(kConfigs)) {
    const auto name = fs::relative(entry.path(), kConfigs).string();
    if (name.ends_with(".cfg") && !name.starts_with("base/")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_diffusion(const fs::path& name) { return name.filename().string().starts_with("diffusion_"); }
bool is_autoencoder(const fs::path& name) {
  const auto file = name.filename().string();
  return file.starts_with("nm") || file.starts_with("tn") || file.starts_with("mlm");
}

TEST(ShippedConfigs, AreAllThere) {
  const auto names = shipped();
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    for (const std::string prefix : {"", "diffusion_"}) {
      std::vector<std::string> expected = {"demo/" + prefix + variant + ".cfg", "local/" + prefix + variant + "_nano.cfg"};
      for (const std::string size : {"s", "m", "l"}) expected.push_back(prefix + variant + "_" + size + ".cfg");
      for (const auto& name : expected) EXPECT_TRUE(std::ranges::count(names, name)) << name;
    }
  }
}

TEST(ShippedConfigs, AllTrainingConfigsParse) {
  for (const auto& name : shipped()) {
    SCOPED_TRACE(name);
    if (is_diffusion(name)) {
      EXPECT_NO_THROW(load_config<TrainDiffusionConfig>({kConfigs / name}));
    } else if (is_autoencoder(name)) {
      EXPECT_NO_THROW(load_config<TrainAutoencoderConfig>({kConfigs / name}));
    }
  }
}

TEST(ShippedConfigs, SizesAreThoseOfTheMethod) {
  struct Row {
    const char* size;
    std::int64_t width, heads, encoder, decoder, denoiser;
  };
  for (const auto& row : {Row{"s", 512, 8, 6, 6, 12}, Row{"m", 768, 12, 12, 12, 24}, Row{"l", 1280, 20, 16, 16, 32}}) {
    const auto config = load_config<TrainAutoencoderConfig>({kConfigs / fmt::format("nm_{}.cfg", row.size)});
    EXPECT_EQ(config.model.width, row.width);
    EXPECT_EQ(config.model.heads, row.heads);
    EXPECT_EQ(config.model.encoder_layers, row.encoder);
    EXPECT_EQ(config.model.decoder_layers, row.decoder);
    EXPECT_EQ(config.training.capacity * config.training.micro_batches, 1 << 20);
    EXPECT_EQ(config.training.steps, 500000);
    EXPECT_EQ(config.optimizer.warmup_steps, 2000);
    EXPECT_EQ(load_config<TrainDiffusionConfig>({kConfigs / fmt::format("diffusion_nm_{}.cfg", row.size)}).model.layers,
              row.denoiser);
  }
}

// The whole task, up to the plan.
TEST(ShippedConfigs, HaveAMemoryPlan) {
  for (const auto& name : shipped()) {
    SCOPED_TRACE(name);
    if (is_diffusion(name)) {
      auto config = load_config<TrainDiffusionConfig>({kConfigs / name});
      config.run.memory_plan = true;
      const auto encoder = fs::path(name).filename().string().substr(std::string("diffusion_").size());
      config.latents.autoencoder = (kConfigs / fs::path(name).parent_path() / encoder).string();
      EXPECT_NO_THROW(testing::run_task(train_diffusion, config));
    } else if (is_autoencoder(name)) {
      auto config = load_config<TrainAutoencoderConfig>({kConfigs / name});
      config.run.memory_plan = true;
      EXPECT_NO_THROW(testing::run_task(train_autoencoder, config));
    }
  }
}

template <class Config>
Config two_steps(Config config, const fs::path& shards, const fs::path& folder) {
  config.run.directory = folder.string();
  config.data.shards = shards.string();
  config.training.steps = 2;
  config.optimizer.warmup_steps = 1;
  config.validation.micro_batches = 1;
  config.validation.times = {0.5};
  return config;
}

// At their own shape: capacity, micro-batches, lengths, sizes.
TEST(ShippedConfigs, SmallOnesTrainTwoSteps) {
  const testing::TemporaryFolder folder;
  const auto shards = testing::make_shards(folder / "data", 60, 600);
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    for (const std::string name : {"demo/{}.cfg", "local/{}_nano.cfg"}) {
      SCOPED_TRACE(variant + " " + name);
      const auto file = fmt::format(fmt::runtime(name), variant);
      const auto encoder = folder / file;
      const auto autoencoder = load_config<TrainAutoencoderConfig>({kConfigs / file});
      EXPECT_EQ(testing::run_task(train_autoencoder, two_steps(autoencoder, shards, encoder), 1, "cpu"), Outcome::done);
      const auto diffusion = fmt::format(fmt::runtime(name), "diffusion_" + variant);
      auto config = two_steps(load_config<TrainDiffusionConfig>({kConfigs / diffusion}), shards, folder / diffusion);
      config.latents.autoencoder = encoder.string();
      config.latents.moment_micro_batches = 1;
      EXPECT_EQ(testing::run_task(train_diffusion, config, 1, "cpu"), Outcome::done);
    }
  }
}

}  // namespace
}  // namespace lsd::tasks
