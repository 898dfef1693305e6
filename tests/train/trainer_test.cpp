// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "train/tiny_training.h"

namespace lsd::train {
namespace {

using testing::TinyRun;
using testing::train_tiny;

// Puts a NaN into the gradient of the steps [first, last] (counted from 1) on one rank.
class FaultyModel : public models::Model {
 public:
  FaultyModel(std::unique_ptr<models::Model> model, std::int64_t micro_batches, std::int64_t first, std::int64_t last)
      : model_(std::move(model)), micro_batches_(micro_batches), first_(first), last_(last) {}
  nn::ParameterStore& parameters() override { return model_->parameters(); }
  models::LossCount loss_count() const override { return model_->loss_count(); }
  int metric_slots() const override { return model_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return model_->metrics(); }
  void forward_backward(nn::StepContext& step, const models::Batch& batch, ConstTensorView share) override {
    if (step.backend.planning()) return model_->forward_backward(step, batch, share);
    const auto number = calls_++ / micro_batches_ + 1;
    // Before backward, which adds to it: the gradients are summed over ranks while backward still runs.
    if (number >= first_ && number <= last_)
      parameters().grad_block().span<float>()[17] = std::numeric_limits<float>::quiet_NaN();
    model_->forward_backward(step, batch, share);
  }
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions& options) override {
    model_->evaluate(step, batch, options);
  }

 private:
  std::unique_ptr<models::Model> model_;
  std::int64_t micro_batches_, first_, last_, calls_ = 0;
};

TinyRun faulty_on_rank(int faulty_rank, std::int64_t per_rank, std::int64_t first, std::int64_t last) {
  TinyRun run;
  run.wrap = [=](std::unique_ptr<models::Model> model, int rank) -> std::unique_ptr<models::Model> {
    if (rank != faulty_rank) return model;
    return std::make_unique<FaultyModel>(std::move(model), per_rank, first, last);
  };
  return run;
}

double value_of(const std::vector<std::pair<std::string, double>>& values, const std::string& name) {
  for (const auto& [key, value] : values)
    if (key == name) return value;
  throw InternalError("no metric " + name);
}

class TrainerRanks : public ::testing::TestWithParam<std::string> {};

TEST_P(TrainerRanks, LossesDoNotDependOnTheNumberOfRanks) {
  TinyRun run;
  run.variant = GetParam();
  run.steps = 30;
  run.capacity = 256;  // enough residues of each type: variances of a handful are ill-conditioned
  run.learning_rate = 1e-3;
  const auto alone = train_tiny(run, 1);
  for (const int ranks : {2, 4}) {
    SCOPED_TRACE(ranks);
    const auto many = train_tiny(run, ranks);
    for (std::size_t step = 0; step < alone[0].metrics.size(); ++step) {
      for (std::size_t i = 0; i < alone[0].metrics[step].size(); ++i) {
        const auto& [name, expected] = alone[0].metrics[step][i];
        if (name == "accuracy") continue;
        ASSERT_NEAR(many[0].metrics[step][i].second, expected, 1e-5 * std::abs(expected) + 1e-9)
            << name << " of step " << step + 1;
      }
      EXPECT_EQ(many[0].gradient_norms[step], many[1].gradient_norms[step]) << "ranks decide from the same bits";
    }
    for (const auto& rank : many) EXPECT_EQ(rank.weights, many[0].weights) << "weights of ranks stay equal";
  }
}

TEST_P(TrainerRanks, LearnsSomething) {
  TinyRun run;
  run.variant = GetParam();
  run.steps = 60;
  const auto result = train_tiny(run, 1)[0];
  EXPECT_LT(value_of(result.metrics.back(), "loss_recon"), 0.97 * value_of(result.metrics.front(), "loss_recon"));
}

TEST_P(TrainerRanks, EveryGradientIsReportedFinal) {
  TinyRun run;
  run.variant = GetParam();
  run.steps = 1;
  run.bucket_elements = 256;
  const auto result = train_tiny(run, 2)[0];
  EXPECT_EQ(result.buckets_started_early, result.buckets);
  EXPECT_GT(result.buckets, 10);
}

INSTANTIATE_TEST_SUITE_P(Variants, TrainerRanks, ::testing::Values("nm", "tn", "mlm"));

TEST(Trainer, TheSameRunGivesTheSameBits) {
  TinyRun run;
  run.steps = 6;
  EXPECT_EQ(train_tiny(run, 2)[0].masters, train_tiny(run, 2)[0].masters);
}

TEST(Trainer, OverfitsOneBatch) {
  TinyRun run;
  run.variant = "tn";  // no noise: reconstruction can be perfect
  run.records = 6;
  run.capacity = 256;
  run.micro_batches = 1;
  run.steps = 400;
  run.lambda = 0.1;
  run.learning_rate = 1e-2;
  const auto result = train_tiny(run, 1)[0];
  EXPECT_GT(value_of(result.metrics.back(), "accuracy"), 0.99);
}

TEST(Trainer, AGradientThatIsNotFiniteOnOneRankSkipsTheStepOnAll) {
  const auto run = faulty_on_rank(1, 2, 3, 4);
  const auto result = train_tiny(run, 2);
  for (const auto& rank : result) {
    EXPECT_EQ(rank.state.step, run.steps);
    EXPECT_EQ(rank.state.optimizer_steps, run.steps - 2);
    ASSERT_EQ(rank.state.skipped.size(), 2U);
    EXPECT_EQ(rank.state.skipped[0].step, 3);
    EXPECT_EQ(rank.state.skipped[1].step, 4);
    EXPECT_LT(rank.state.skipped[0].end_visit, rank.state.end_visit) << "the data position goes on";
    EXPECT_EQ(rank.state.skips_in_a_row, 0);
    EXPECT_EQ(rank.weights, result[0].weights);
    for (const float weight : rank.weights) ASSERT_TRUE(std::isfinite(weight));
  }
}

TEST(Trainer, TenFaultyStepsInARowStopTheRunWithTheirNames) {
  auto run = faulty_on_rank(0, 4, 2, 100);
  run.steps = 50;
  testing::expect_error<DataError>([&] { train_tiny(run, 1); },
                                   {"10 steps in a row", "step 2 ", "step 11 ", "visits", "records"});
}

// Two ranks with a micro-batch each that share their moments, against one rank with all of the step in one micro-batch.
TEST(Trainer, GlobalMomentsEqualThoseOfTheWholeStep) {
  TinyRun shared;
  shared.residues = 30;  // 32 rows with the specials: 4 sequences in a micro-batch
  shared.moments = "global";
  shared.micro_batches = 2;
  shared.steps = 4;
  TinyRun whole = shared;
  whole.moments = "micro_batch";
  whole.micro_batches = 1;
  whole.capacity = 2 * shared.capacity;
  const auto two = train_tiny(shared, 2);
  const auto one = train_tiny(whole, 1)[0];
  EXPECT_EQ(two[0].weights, two[1].weights);
  EXPECT_EQ(two[0].state.end_visit, one.state.end_visit);
  for (std::size_t step = 0; step < one.metrics.size(); ++step) {
    for (const auto* name : {"loss_recon", "loss_norm", "loss"})
      EXPECT_NEAR(value_of(two[0].metrics[step], name), value_of(one.metrics[step], name),
                  1e-4 * std::abs(value_of(one.metrics[step], name)))
          << name << " of step " << step + 1;
    EXPECT_NEAR(two[0].gradient_norms[step], one.gradient_norms[step], 1e-4 * one.gradient_norms[step]);
  }
  shared.moments = "micro_batch";
  const auto apart = train_tiny(shared, 2)[0];
  EXPECT_GT(std::abs(value_of(apart.metrics[0], "loss_norm") / value_of(one.metrics[0], "loss_norm") - 1.0), 0.01)
      << "moments of half the step are others";
}

}  // namespace
}  // namespace lsd::train
