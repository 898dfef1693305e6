// SPDX-License-Identifier: Apache-2.0
// Identities that hold exactly when the denoiser is exact, and names, schedules and refusals.

#include "lsd/models/representations.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "lsd/core/error.h"
#include "model_run.h"
#include "support/expect_error.h"

namespace lsd::models {
namespace {

using testing::PackedBatch;

constexpr std::int64_t kLatent = 8, kRows = 44, kSequences = 6;

// Knows the clean latents: z_in = c z + s eps has v = c eps - s z = (c z_in - z) / s.
class ExactDenoiser : public Denoiser {
 public:
  explicit ExactDenoiser(const std::vector<float>& z) : z_(z) {}
  TensorView velocity(nn::StepContext& step, const PackedLayout& layout, ConstTensorView z_in,
                      ConstTensorView sequence_time) override {
    TensorView v = step.arena.like(z_in);
    for (std::int64_t i = 0; i < z_in.elements(); ++i) {
      const auto sequence = layout.row_sequence.data<std::int32_t>()[i / kLatent];
      if (sequence < 0) continue;
      const double theta = 0.5 * std::numbers::pi * sequence_time.data<float>()[sequence];
      v.data<float>()[i] = static_cast<float>(
          (std::cos(theta) * z_in.data<float>()[i] - z_[static_cast<std::size_t>(i)]) / std::sin(theta));
    }
    return v;
  }
  const DenoiserConfig& config() const override { return config_; }
  std::int64_t latent_width() const override { return kLatent; }
  nn::ParameterStore& parameters() override { return store_; }
  LossCount loss_count() const override { return LossCount::residues; }
  int metric_slots() const override { return 0; }
  std::vector<MetricSpec> metrics() const override { return {}; }
  void forward_backward(nn::StepContext&, const Batch&, ConstTensorView) override {}
  void evaluate(nn::StepContext&, const Batch&, const EvaluateOptions&) override {}

 private:
  const std::vector<float>& z_;
  DenoiserConfig config_;
  nn::ParameterStore store_;
};

class ZeroDenoiser : public ExactDenoiser {
 public:
  using ExactDenoiser::ExactDenoiser;
  TensorView velocity(nn::StepContext& step, const PackedLayout&, ConstTensorView z_in, ConstTensorView) override {
    TensorView v = step.arena.like(z_in);
    step.backend.pointwise().run(Fill{.y = v, .value = 0.0F});
    return v;
  }
};

class RepresentationTest : public ::testing::Test {
 protected:
  RepresentationTest() { packed_.latents = z_; }

  std::vector<float> apply(const RepresentationSpec& spec) {
    auto step = run_.context();
    const ArenaScope scope(step.arena);
    const RepresentationMap map(*backend_, spec, kSequences);
    const auto out = map.apply(step, &exact_, packed_.batch(), view(z_)).span<float>();
    return {out.begin(), out.end()};
  }
  // The combination from the exact velocity and z_t of one noise draw, and that noise.
  std::vector<float> combine(Representation representation, double t, std::vector<float>& eps) {
    auto step = run_.context();
    const ArenaScope scope(step.arena);
    const auto batch = packed_.batch();
    std::vector<float> times(kSequences, static_cast<float>(t)), z_t(z_.size()), v(z_.size()), out(z_.size());
    eps.resize(z_.size());
    const auto mix = [&](float time, std::vector<float>& noised, std::vector<float>& velocity) {
      std::vector<float> at(kSequences, time);
      backend_->random().run(NoiseMix{.z = view(z_),
                                      .layout = batch.layout,
                                      .sequence_visit = batch.sequence_visit,
                                      .sequence_time = ConstTensorView(at.data(), DType::float32, Shape{kSequences}),
                                      .noised = mutable_view(noised),
                                      .velocity = mutable_view(velocity),
                                      .key = step.key(RandomStream::diffusion_noise)});
    };
    std::vector<float> unused(z_.size());
    mix(0.0F, unused, eps);  // at t = 0 the velocity is the noise
    mix(static_cast<float>(t), z_t, v);
    const RepresentationMap map(*backend_, {.representation = representation, .time = t}, kSequences);
    map.combine(step, batch, view(z_), view(z_t), view(v), mutable_view(out));
    return out;
  }
  void expect_equal(const std::vector<float>& actual, const std::vector<float>& expected, double factor = 1.0) {
    for (std::int64_t i = 0; i < packed_.used_rows() * kLatent; ++i) {
      const auto at = static_cast<std::size_t>(i);
      ASSERT_NEAR(actual[at], factor * expected[at], 2e-6 * (1 + std::abs(factor) * std::abs(expected[at]))) << i;
    }
  }
  static ConstTensorView view(const std::vector<float>& values) {
    return {values.data(), DType::float32, Shape{kRows, kLatent}};
  }
  static TensorView mutable_view(std::vector<float>& values) {
    return {values.data(), DType::float32, Shape{kRows, kLatent}};
  }

  std::unique_ptr<Backend> backend_ = backends::make_reference_backend();
  testing::ModelStep run_{*backend_};
  std::vector<float> z_ = testing::random_values(kRows * kLatent, 1.0F, 3);
  PackedBatch packed_{testing::sample_sequences(), kRows, kSequences};
  ExactDenoiser exact_{z_};
};

TEST_F(RepresentationTest, IdentitiesHoldForTheExactVelocity) {
  for (const double t : {0.0, 0.15, 0.3, 0.5, 0.7, 1.0}) {
    SCOPED_TRACE(t);
    const double c = std::cos(0.5 * std::numbers::pi * t), s = std::sin(0.5 * std::numbers::pi * t);
    std::vector<float> eps;
    expect_equal(combine(Representation::denoised, t, eps), z_);
    expect_equal(combine(Representation::eps, t, eps), eps);
    expect_equal(combine(Representation::diffusion, t, eps), eps, c);
    if (t > 0.0) expect_equal(combine(Representation::score, t, eps), eps, -1.0 / s);
  }
}

TEST_F(RepresentationTest, EncoderIsTheLatentItself) {
  EXPECT_EQ(apply({.representation = Representation::encoder}), z_);
}

TEST_F(RepresentationTest, NoisedInputOfAnExactDenoiserGivesTheLatentBackWhateverTheDraws) {
  for (const std::int64_t draws : {1, 3})
    expect_equal(
        apply(
            {.representation = Representation::denoised, .time = 0.5, .input = DenoiserInput::noised, .draws = draws}),
        z_);
}

TEST_F(RepresentationTest, DrawsOfTheNoisedInputAreIndependent) {
  const auto variance = [&](std::int64_t draws) {
    const auto eps =
        apply({.representation = Representation::eps, .time = 0.5, .input = DenoiserInput::noised, .draws = draws});
    double sum = 0.0;
    const auto count = packed_.used_rows() * kLatent;
    for (std::int64_t i = 0; i < count; ++i) sum += std::pow(eps[static_cast<std::size_t>(i)], 2);
    return sum / static_cast<double>(count);
  };
  EXPECT_NEAR(variance(1), 1.0, 0.35);  // 304 normals: standard error 0.08
  EXPECT_NEAR(variance(16) * 16.0, 1.0, 0.35);
}

// With v = 0 each draw gives s z, whatever its noise, and so does their mean.
TEST_F(RepresentationTest, TheMeanOfAThousandDrawsIsNoSmallerInBfloat16) {
  std::vector<BFloat16> z(z_.begin(), z_.end());
  ZeroDenoiser zero(z_);
  auto step = run_.context();
  step.activation = DType::bfloat16;
  const ArenaScope scope(step.arena);
  const RepresentationMap map(
      *backend_,
      {.representation = Representation::diffusion, .time = 0.5, .input = DenoiserInput::noised, .draws = 1024},
      kSequences);
  const auto out =
      map.apply(step, &zero, packed_.batch(), {z.data(), DType::bfloat16, Shape{kRows, kLatent}}).span<BFloat16>();
  for (std::int64_t i = 0; i < packed_.used_rows() * kLatent; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const float expected = std::sqrt(0.5F) * static_cast<float>(z[at]);
    ASSERT_NEAR(static_cast<float>(out[at]), expected, 0.01F * std::abs(expected)) << i;  // 2 roundings to 8 bits
  }
}

// The exact denoiser at z_in = z and z_in = c z, by hand.
TEST_F(RepresentationTest, CleanAndScaledInputsFollowTheirFormulas) {
  const double t = 0.3, c = std::cos(0.15 * std::numbers::pi), s = std::sin(0.15 * std::numbers::pi);
  expect_equal(apply({.representation = Representation::diffusion, .time = t}), z_, (c - 1) / s + s);
  expect_equal(apply({.representation = Representation::diffusion, .time = t, .input = DenoiserInput::scaled}), z_,
               (c * c - 1) / s + s);
}

TEST(RepresentationSpec, TheScoreAtTimeZeroIsRefused) {
  const RepresentationSpec spec{.representation = Representation::score, .time = 0.0};
  testing::expect_error<UserError>([&] { spec.validate(); }, {"score", "t = 0"});
  EXPECT_THROW((RepresentationSpec{.time = 1.5}.validate()), UserError);
  EXPECT_THROW(representation_from_name("latent"), UserError);
  EXPECT_EQ(representation_from_name("denoised"), Representation::denoised);
}

TEST(NoiseSchedule, EverySchedulePreservesTheEndsAndGrows) {
  for (const auto schedule : {NoiseSchedule::cosine, NoiseSchedule::linear_beta, NoiseSchedule::sigmoid}) {
    EXPECT_NEAR(effective_time(schedule, 0.0), 0.0, 1e-7);
    EXPECT_NEAR(effective_time(schedule, 1.0), 1.0, 5e-3);  // linear_beta ends at alpha = 0.0066
    double last = 0.0;
    for (int i = 1; i <= 100; ++i) {
      const double t = effective_time(schedule, 0.01 * i);
      EXPECT_GT(t, last);
      last = t;
    }
  }
}

TEST(NoiseSchedule, LinearBetaHasTheAlphaOfItsPaper) {
  // t = 0.5: ln alpha = -0.25 * 19.9 / 4 - 0.05 / 2 = -1.26875
  const double alpha = std::cos(0.5 * std::numbers::pi * effective_time(NoiseSchedule::linear_beta, 0.5));
  EXPECT_NEAR(alpha, std::exp(-1.26875), 1e-12);
}

TEST(NoiseSchedule, SigmoidIsHalfWayAtHalfTime) {
  EXPECT_NEAR(effective_time(NoiseSchedule::sigmoid, 0.5), 0.5, 1e-12);
}

}  // namespace
}  // namespace lsd::models
