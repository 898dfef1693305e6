// SPDX-License-Identifier: Apache-2.0
#include "lsd/models/autoencoder.h"

#include <gtest/gtest.h>

#include <numbers>
#include <ostream>

#include "lsd/core/error.h"
#include "model_run.h"
#include "support/expect_error.h"
#include "support/recording_hooks.h"

namespace lsd::models {
namespace {

using testing::ModelRun;
using testing::PackedBatch;

struct Case {
  std::string name, variant, norm = "univariate";
};
void PrintTo(const Case& each, std::ostream* out) {
  *out << each.name;
}

class AutoencoderTest : public ::testing::TestWithParam<Case> {
 protected:
  static AutoencoderConfig config() {
    auto config = testing::small_autoencoder(GetParam().variant);
    config.norm = GetParam().norm;
    config.lambda = 0.7;
    if (config.norm == "multivariate") config.shrinkage = 0.1;
    return config;
  }
  static PackedBatch packed() { return PackedBatch(testing::sample_sequences(), 44, 6); }

  std::unique_ptr<Backend> backend_ = backends::make_reference_backend();
};

TEST_P(AutoencoderTest, GradientsMatchDifferences) {
  const auto model = build_autoencoder(config());
  ModelRun run(*model, *backend_);
  testing::randomise(model->parameters(), 0.25F, 5);
  const auto packed = this->packed();
  const auto batch = packed.batch();
  constexpr float kLossScale = 0.05F, kShare = 0.6F;
  run.run().set_loss_scale(kLossScale);
  const auto loss = [&] {
    run.evaluate(batch);
    const double recon = run.metric("loss_recon", batch) *
                         static_cast<double>(GetParam().variant == "mlm" ? batch.num_targets : batch.num_residues);
    const double norm = GetParam().variant == "mlm" ? 0.0 : run.metric("loss_norm", batch);
    return kLossScale * recon + 0.7 * kShare * norm;
  };
  run.forward_backward(batch, kShare);
  testing::expect_parameter_gradients_match(model->parameters(), loss, {.step = 1e-3, .relative = 4e-3});
}

TEST_P(AutoencoderTest, TrainingAndEvaluationReportTheSameLosses) {
  const auto model = build_autoencoder(config());
  ModelRun run(*model, *backend_);
  initialise(*model, *backend_, 3);
  const auto packed = this->packed();
  run.forward_backward(packed.batch());
  const auto trained = run.run().metrics;
  run.evaluate(packed.batch());
  EXPECT_EQ(run.run().metrics, trained);
}

TEST_P(AutoencoderTest, RecomputationChangesNoBit) {
  for (const auto activation : {DType::float32, DType::bfloat16}) {
    const auto model = build_autoencoder(config());
    ModelRun run(*model, *backend_, activation);
    run.run().residual = DType::float32;
    initialise(*model, *backend_, 3);
    const auto packed = this->packed();
    std::vector<std::vector<float>> gradients;
    for (const auto level : {nn::Recompute::none, nn::Recompute::pointwise, nn::Recompute::block}) {
      run.run().recompute = level;
      run.zero_gradients();
      run.forward_backward(packed.batch());
      gradients.push_back(run.gradients());
    }
    EXPECT_EQ(gradients[1], gradients[0]);
    EXPECT_EQ(gradients[2], gradients[0]);
  }
}

TEST_P(AutoencoderTest, EachGradientIsReportedFinalOnceWhenItIs) {
  const auto model = build_autoencoder(config());
  ModelRun run(*model, *backend_);
  initialise(*model, *backend_, 3);
  testing::RecordingHooks hooks(model->parameters());
  run.run().hooks = &hooks;
  const auto packed = this->packed();
  run.forward_backward(packed.batch());
  hooks.expect_whole_block_final_once();
}

TEST_P(AutoencoderTest, LatentsOfASequenceDoNotDependOnItsPacking) {
  const auto model = build_autoencoder(config());
  ModelRun run(*model, *backend_);
  testing::randomise(model->parameters(), 0.25F, 5);
  const auto sequences = testing::sample_sequences();
  const auto latents = [&](const PackedBatch& packed) {
    auto step = run.run().context();
    const ArenaScope scope(step.arena);
    const auto z = model->encode(step, packed.batch()).span<float>();
    return std::vector<float>(z.begin(), z.end());
  };
  const PackedBatch packed(sequences, 44, 6);
  const auto together = latents(packed);
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const PackedBatch single({sequences[s]}, 20, 2);
    const auto alone = latents(single);
    const auto begin = packed.offsets[s] * 16, count = (packed.offsets[s + 1] - packed.offsets[s]) * 16;
    EXPECT_TRUE(std::equal(alone.begin(), alone.begin() + count, together.begin() + begin)) << "sequence " << s;
  }
}

TEST_P(AutoencoderTest, DeadRowsChangeNothing) {
  const auto model = build_autoencoder(config());
  ModelRun run(*model, *backend_);
  testing::randomise(model->parameters(), 0.25F, 5);
  const PackedBatch tight(testing::sample_sequences(), 38, 4), loose(testing::sample_sequences(), 60, 9);
  ASSERT_EQ(tight.used_rows(), 38);
  run.forward_backward(tight.batch());
  const auto metrics = run.run().metrics;
  const auto gradients = run.gradients();
  run.zero_gradients();
  run.forward_backward(loose.batch());
  EXPECT_EQ(run.run().metrics, metrics);
  EXPECT_EQ(run.gradients(), gradients);
}

INSTANTIATE_TEST_SUITE_P(Variants, AutoencoderTest,
                         ::testing::Values(Case{"nm", "nm"}, Case{"tn", "tn"}, Case{"mlm", "mlm"},
                                           Case{"nm_multivariate", "nm", "multivariate"},
                                           Case{"tn_multivariate", "tn", "multivariate"}),
                         [](const auto& each) { return each.param.name; });

TEST(Autoencoder, NoiseOfNmDependsOnTheVisitAndNotOnThePacking) {
  const auto backend = backends::make_reference_backend();
  const auto model = build_autoencoder(testing::small_autoencoder("nm"));
  ModelRun run(*model, *backend);
  testing::randomise(model->parameters(), 0.25F, 5);
  const auto sequences = testing::sample_sequences();
  const PackedBatch all(sequences, 44, 6);
  run.evaluate(all.batch());
  const float together = run.run().metrics[0];
  double apart = 0.0;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    PackedBatch one({sequences[s]}, 20, 2);
    one.visit[0] = all.visit[s];
    run.evaluate(one.batch());
    apart += run.run().metrics[0];
  }
  EXPECT_NEAR(apart, together, 1e-5 * together);
}

TEST(Autoencoder, NmWeighsTheCrossEntropyBySquaredSine) {
  const auto backend = backends::make_reference_backend();
  const auto model = build_autoencoder(testing::small_autoencoder("nm"));
  ModelRun run(*model, *backend);
  testing::randomise(model->parameters(), 0.25F, 5);
  const PackedBatch packed(testing::sample_sequences(), 44, 6);
  for (const float t : {0.0F, 0.25F, 0.5F, 0.75F}) {
    run.evaluate(packed.batch(), t);
    const double s = std::sin(0.5 * std::numbers::pi * t);
    const double unweighted = run.run().metrics[1];
    EXPECT_NEAR(run.run().metrics[0], s * s * unweighted, 1e-5 * unweighted) << t;
    EXPECT_GT(unweighted, 0.0);
  }
}

// Latents whose moments are known: with a zero map and bias b, every latent is b, so mean = b and variance = 0.
TEST(Autoencoder, LossNormOfConstantLatentsIsThatOfTheirMean) {
  const auto backend = backends::make_reference_backend();
  for (const std::string variant : {"nm", "tn"}) {
    auto config = testing::small_autoencoder(variant);
    config.variance_floor = 1e-3;
    const auto model = build_autoencoder(config);
    ModelRun run(*model, *backend);
    initialise(*model, *backend, 1);
    auto values = model->parameters().compute_block().span<float>();
    const auto* weight = model->parameters().find("latent.weight");
    const auto* bias = model->parameters().find("latent.bias");
    std::fill_n(values.begin() + weight->offset, 256, 0.0F);
    std::fill_n(values.begin() + bias->offset, 16, 2.0F);
    const PackedBatch packed(testing::sample_sequences(), 44, 6);
    run.evaluate(packed.batch());
    EXPECT_NEAR(run.metric("loss_norm", packed.batch()), 0.5 * (4.0 + 1e-3 - 1.0 - std::log(1e-3)), 1e-4);
  }
}

TEST(Autoencoder, TnLeavesOutTypesBelowMinCount) {
  const auto backend = backends::make_reference_backend();
  auto config = testing::small_autoencoder("tn");
  config.min_count = 1000;
  const auto model = build_autoencoder(config);
  ModelRun run(*model, *backend);
  initialise(*model, *backend, 1);
  const PackedBatch packed(testing::sample_sequences(), 44, 6);
  run.evaluate(packed.batch());
  EXPECT_EQ(run.metric("loss_norm", packed.batch()), 0.0);
}

TEST(Autoencoder, TheLossIsReconstructionPlusLambdaNorm) {
  const auto backend = backends::make_reference_backend();
  auto config = testing::small_autoencoder("tn");
  config.lambda = 2.0;
  const auto model = build_autoencoder(config);
  ModelRun run(*model, *backend);
  initialise(*model, *backend, 1);
  const PackedBatch packed(testing::sample_sequences(), 44, 6);
  const auto batch = packed.batch();
  run.evaluate(batch);
  EXPECT_DOUBLE_EQ(run.metric("loss", batch), run.metric("loss_recon", batch) + 2.0 * run.metric("loss_norm", batch));
}

// Two "ranks" in one process: the hook adds what the other rank's batch would send.
class OtherRank : public nn::StepHooks {
 public:
  void sum_over_ranks(TensorView values) override {
    auto mine = values.span<float>();
    sent.assign(mine.begin(), mine.end());
    for (std::size_t i = 0; i < received.size(); ++i) mine[i] += received[i];
  }
  void on_gradients_final(std::int64_t, std::int64_t) override {}
  std::vector<float> sent, received;
};

TEST(Autoencoder, GlobalMomentsOfTwoRanksEqualThoseOfOneBatch) {
  const auto backend = backends::make_reference_backend();
  for (const std::string variant : {"nm", "tn"}) {
    SCOPED_TRACE(variant);
    auto config = testing::small_autoencoder(variant);
    config.moments = "global";
    const auto model = build_autoencoder(config);
    ModelRun run(*model, *backend);
    testing::randomise(model->parameters(), 0.25F, 5);
    const auto sequences = testing::sample_sequences();
    PackedBatch whole(sequences, 44, 6), first({sequences[0], sequences[1]}, 30, 3),
        second({sequences[2], sequences[3]}, 30, 3);
    second.visit = {whole.visit[2], whole.visit[3], 0};

    run.forward_backward(whole.batch());
    const auto expected = run.gradients();
    const float expected_loss = run.run().metrics[3];

    OtherRank hooks;
    run.run().hooks = &hooks;
    run.forward_backward(first.batch());
    const auto from_first = hooks.sent;
    run.forward_backward(second.batch());
    const auto from_second = hooks.sent;
    run.zero_gradients();
    hooks.received = from_second;
    run.forward_backward(first.batch());
    EXPECT_NEAR(run.run().metrics[3], expected_loss, 1e-5 * expected_loss);
    hooks.received = from_first;
    run.forward_backward(second.batch());
    const auto sum = run.gradients();
    double difference = 0.0, norm = 0.0;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      difference += std::pow(sum[i] - expected[i], 2);
      norm += std::pow(expected[i], 2);
    }
    EXPECT_LT(std::sqrt(difference / norm), 1e-5);

    hooks.sent.clear();
    run.evaluate(first.batch());
    EXPECT_TRUE(hooks.sent.empty()) << "ranks evaluate different numbers of micro-batches: none may wait for another";
  }
}

TEST(Autoencoder, TheNormalisationLossIsReportedByItsShare) {
  const auto backend = backends::make_reference_backend();
  for (const std::string norm : {"univariate", "multivariate"}) {
    auto config = testing::small_autoencoder("nm");
    config.norm = norm;
    config.shrinkage = 0.1;
    const auto model = build_autoencoder(config);
    ModelRun run(*model, *backend);
    testing::randomise(model->parameters(), 0.25F, 5);
    const PackedBatch packed(testing::sample_sequences(), 44, 6);
    run.forward_backward(packed.batch());
    const double whole = run.metric("loss_norm", packed.batch());
    run.forward_backward(packed.batch(), 0.25F);
    EXPECT_NEAR(run.metric("loss_norm", packed.batch()), 0.25 * whole, 1e-6 * whole);
  }
}

TEST(Autoencoder, ImpossibleOptionsAreRefused) {
  const auto with = [](auto change) {
    auto config = testing::small_autoencoder("nm");
    change(config);
    build_autoencoder(config);
  };
  testing::expect_error<UserError>([&] { with([](auto& c) { c.heads = 3; }); }, {"width 16", "3 heads"});
  testing::expect_error<UserError>([&] { with([](auto& c) { c.heads = 4; }); }, {"multiple of 8"});
  testing::expect_error<UserError>([&] { with([](auto& c) { c.variant = "vae"; }); }, {"'vae'", "nm, tn or mlm"});
  testing::expect_error<UserError>(
      [&] {
        with([](auto& c) {
          c.norm = "multivariate";
          c.moments = "global";
        });
      },
      {"multivariate", "micro_batch"});
}

}  // namespace
}  // namespace lsd::models
