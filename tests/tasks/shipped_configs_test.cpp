// SPDX-License-Identifier: Apache-2.0
// Every training config that is shipped: it parses, and either runs two steps at its shape or, where that would take a
// bigger machine, has a memory plan.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "lsd/train/memory_plan.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(LSD_TESTS_FOLDER).parent_path() / "configs";

// Relative names of the programs' configs; what others include stands in base/.
std::vector<std::string> shipped() {
  std::vector<std::string> names;
  for (const fs::path folder : {"", "local", "demo"})
    for (const auto& entry : fs::directory_iterator(kConfigs / folder))
      if (entry.path().extension() == ".cfg") names.push_back((folder / entry.path().filename()).string());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_diffusion(const fs::path& name) {
  return name.filename().string().starts_with("diffusion_");
}
bool is_autoencoder(const fs::path& name) {
  const auto file = name.filename().string();
  return file.starts_with("nm") || file.starts_with("tn") || file.starts_with("mlm");
}

TEST(ShippedConfigs, AreAllThere) {
  const auto names = shipped();
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    for (const std::string prefix : {"", "diffusion_"}) {
      std::vector<std::string> expected = {"demo/" + prefix + variant + ".cfg",
                                           "local/" + prefix + variant + "_nano.cfg"};
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
class SmallConfig : public ::testing::TestWithParam<std::string> {
 protected:
  testing::TemporaryFolder folder_;
  fs::path shards_ = testing::make_shards(folder_ / "data", 60, 600);
};

TEST_P(SmallConfig, TrainsTwoSteps) {
  const auto config = load_config<TrainAutoencoderConfig>({kConfigs / GetParam()});
  EXPECT_EQ(testing::run_task(train_autoencoder, two_steps(config, shards_, folder_ / "run"), 1, "cpu"), Outcome::done);
}

TEST_P(SmallConfig, TrainsTwoStepsOfDiffusionOnIt) {
  const fs::path name = GetParam();
  auto autoencoder = two_steps(load_config<TrainAutoencoderConfig>({kConfigs / name}), shards_, folder_ / "encoder");
  autoencoder.training.capacity = 2048;
  autoencoder.training.micro_batches = 1;
  ASSERT_EQ(testing::run_task(train_autoencoder, autoencoder, 1, "cpu"), Outcome::done);
  const auto file = name.parent_path() / ("diffusion_" + name.filename().string());
  auto config = two_steps(load_config<TrainDiffusionConfig>({kConfigs / file}), shards_, folder_ / "run");
  config.latents.autoencoder = (folder_ / "encoder").string();
  config.latents.moment_micro_batches = 1;
  EXPECT_EQ(testing::run_task(train_diffusion, config, 1, "cpu"), Outcome::done);
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (auto& letter : name)
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0) letter = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, SmallConfig,
                         ::testing::Values("demo/nm.cfg", "demo/tn.cfg", "demo/mlm.cfg", "local/nm_nano.cfg",
                                           "local/tn_nano.cfg", "local/mlm_nano.cfg"),
                         test_name);

}  // namespace
}  // namespace lsd::tasks
