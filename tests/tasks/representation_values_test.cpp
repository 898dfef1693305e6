// SPDX-License-Identifier: Apache-2.0
// Representations as dumps hold them: on standardised latents, under the model's own schedule, with its moving average.
// Probes take their features from the same dumps.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "lsd/io/embedding_reader.h"
#include "lsd/models/noise_schedule.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/train/frozen_model.h"
#include "support/diffusion_by_hand.h"
#include "support/temporary_folder.h"
#include "tasks/tiny_models.h"

namespace lsd::tasks {
namespace {

using testing::kTinyWidth;
using testing::Mix;

class RepresentationValues : public ::testing::Test {
 protected:
  struct Model {
    std::vector<float> weights, average;
    std::string schedule = "cosine";
  };

  void SetUp() override {
    testing::write_tiny_autoencoder(folder_ / "nm");
    testing::write_fasta(folder_ / "p.fasta", {30, 7, 55});
  }
  static models::DenoiserConfig config_of(const std::string& schedule) {
    models::DenoiserConfig config{.width = kTinyWidth, .heads = 2, .layers = 1, .time_features = 8};
    config.schedule = schedule;
    return config;
  }
  // As initialised (seed 0: the output map is zero and so is every prediction), or other weights for every seed.
  static std::vector<float> weights(std::uint32_t seed) {
    const auto model = models::build_denoiser(config_of("cosine"), kTinyWidth);
    return seed == 0 ? model->parameters().initial_values(1) : testing::random_weights(model->parameters(), seed);
  }
  // Means and variances that differ by dimension.
  static train::LatentMoments moments() {
    train::LatentMoments moments;
    for (int c = 0; c < kTinyWidth; ++c) {
      moments.mean.push_back(0.125F * static_cast<float>(c) - 0.5F);
      moments.variance.push_back(0.25F + 0.5F * static_cast<float>(c));
    }
    return moments;
  }
  std::string write(const std::string& name, const Model& content) const {
    const auto config = config_of(content.schedule);
    const auto model = models::build_denoiser(config, kTinyWidth);
    const auto of_latents = moments();
    const auto encoder = train::encoder_fingerprint(io::open_checkpoint_at(folder_ / "nm"));
    io::CheckpointWriter writer(folder_ / name / "checkpoints", 1);
    writer.begin(1);
    writer.write(train::kModelFile, testing::named_weights(model->parameters(), content.weights));
    writer.write(train::kEmaFile, testing::named_weights(model->parameters(), content.average));
    writer.write(train::kMomentsFile, train::named_moments(of_latents));
    writer.commit(
        {.step = 1, .config = testing::settings_of_model(config), .fingerprints = {{"autoencoder", encoder}}});
    return (folder_ / name).string();
  }
  // The mean over the residues of each protein, one after the other. All representations but `noised` ones of a
  // denoiser that predicts 0 are affine in z, so that they commute with the mean.
  std::vector<float> means(const std::string& diffusion, const std::string& representation, double time,
                           const std::string& input = "clean") {
    DumpLatentsConfig config;
    config.features.autoencoder = (folder_ / "nm").string();
    config.features.diffusion = diffusion;
    config.features.representation = representation;
    config.features.time = time;
    config.features.input = input;
    config.features.capacity = 128;
    config.features.max_sequences = 4;
    config.input.fasta = (folder_ / "p.fasta").string();
    config.output.directory = (folder_ / ("dump" + std::to_string(dumps_++))).string();
    config.output.mode = "means";
    EXPECT_EQ(testing::run_on_ranks(1, [&](Runtime& runtime) { return dump_latents(config, runtime); }), Outcome::done);
    const io::EmbeddingReader reader(config.output.directory);
    std::vector<float> values(static_cast<std::size_t>(reader.size() * kTinyWidth));
    for (std::int64_t record = 0; record < reader.size(); ++record) {
      const auto bytes = reader.rows(record, 0, 1);
      std::memcpy(values.data() + record * kTinyWidth, bytes.data(), bytes.size());
    }
    return values;
  }
  // Dimension by dimension: out = a (z - mean) / deviation where it stays standardised, and mean + a (z - mean) where
  // it is mapped back.
  static void expect_multiple(const std::vector<float>& actual, const std::vector<float>& encoder, double a,
                              bool mapped_back) {
    const auto of_latents = moments();
    ASSERT_EQ(actual.size(), encoder.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const auto c = i % static_cast<std::size_t>(kTinyWidth);
      const double mean = of_latents.mean[c], deviation = std::sqrt(static_cast<double>(of_latents.variance[c]));
      const double centred = static_cast<double>(encoder[i]) - mean;
      const double expected = mapped_back ? mean + a * centred : a * centred / deviation;
      EXPECT_NEAR(actual[i], expected, 2e-5 * (1.0 + std::abs(expected))) << i;
    }
  }

  testing::TemporaryFolder folder_;
  int dumps_ = 0;
};

// With v = 0 and y = (z - mean) / deviation: diffusion = sigma y; eps = sigma z_in; score = -z_in; denoised = alpha
// z_in, mapped back; z_in = y or alpha y.
TEST_F(RepresentationValues, FollowStandardisedLatentsAndTheModelsSchedule) {
  struct Case {
    std::string schedule;
    double time;
    Mix mix;
  };
  for (const auto& [schedule, time, mix] :
       {Case{"cosine", 0.3, testing::cosine_mix(0.3)}, Case{"linear_beta", 0.5, testing::linear_beta_mix(0.5)}}) {
    SCOPED_TRACE(schedule);
    const auto model = write(schedule, {.weights = weights(3), .average = weights(0), .schedule = schedule});
    const auto z = means(model, "encoder", 0.0);
    expect_multiple(means(model, "diffusion", time), z, mix.sigma, false);
    expect_multiple(means(model, "eps", time), z, mix.sigma, false);
    expect_multiple(means(model, "score", time), z, -1.0, false);
    expect_multiple(means(model, "denoised", time), z, mix.alpha, true);
    expect_multiple(means(model, "diffusion", time, "scaled"), z, mix.sigma, false);
    expect_multiple(means(model, "eps", time, "scaled"), z, mix.sigma * mix.alpha, false);
    expect_multiple(means(model, "score", time, "scaled"), z, -mix.alpha, false);
    expect_multiple(means(model, "denoised", time, "scaled"), z, mix.alpha * mix.alpha, true);
  }
}

// The denoiser is told the effective time, whatever schedule led there.
TEST_F(RepresentationValues, AreThoseOfTheCosineModelAtTheEffectiveTime) {
  const auto model = write("linear", {.weights = weights(3), .average = weights(4), .schedule = "linear_beta"});
  const auto cosine = write("cosine", {.weights = weights(3), .average = weights(4)});
  const double effective = models::effective_time(models::NoiseSchedule::linear_beta, 0.5);
  for (const std::string input : {"clean", "scaled", "noised"}) {
    SCOPED_TRACE(input);
    const auto values = means(model, "diffusion", 0.5, input);
    EXPECT_EQ(values, means(cosine, "diffusion", effective, input));
    EXPECT_NE(values, means(cosine, "diffusion", 0.5, input));
  }
}

TEST_F(RepresentationValues, FollowTheMovingAverageAndNotTheRawWeights) {
  const auto model = write("model", {.weights = weights(3), .average = weights(4)});
  const auto other_weights = write("other_weights", {.weights = weights(5), .average = weights(4)});
  const auto other_average = write("other_average", {.weights = weights(3), .average = weights(5)});
  for (const std::string representation : {"diffusion", "eps", "score", "denoised"}) {
    SCOPED_TRACE(representation);
    const auto values = means(model, representation, 0.3);
    EXPECT_EQ(values, means(other_weights, representation, 0.3));
    EXPECT_NE(values, means(other_average, representation, 0.3));
  }
}

}  // namespace
}  // namespace lsd::tasks
