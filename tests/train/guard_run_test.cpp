// SPDX-License-Identifier: Apache-2.0
// Spikes in whole runs: skipped steps, the way back to a checkpoint, the list of visits left out, and that a run which
// is stopped or killed meanwhile ends alike.
#include <gmock/gmock.h>

#include <limits>
#include <mutex>

#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::expect_same_end;
using testing::run;
using testing::TemporaryFolder;
using testing::TinyJob;

// What micro-batches that hold a visit of [begin, end) do, on whichever rank has them: they put this into the gradient,
// or add it to the loss.
struct Harm {
  std::int64_t begin = 0, end = 0;
  float gradient = 0.0F, loss = 0.0F;
};

class BadData : public models::Model {
 public:
  BadData(std::unique_ptr<models::Model> model, Harm harm) : model_(std::move(model)), harm_(harm) {}
  nn::ParameterStore& parameters() override { return model_->parameters(); }
  models::LossCount loss_count() const override { return model_->loss_count(); }
  int metric_slots() const override { return model_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return model_->metrics(); }
  void forward_backward(nn::StepContext& step, const models::Batch& batch, ConstTensorView share) override {
    const bool bad = !step.backend.planning() && is_bad(batch);
    if (bad && harm_.gradient != 0.0F) parameters().grad_block().span<float>()[17] = harm_.gradient;
    model_->forward_backward(step, batch, share);
    if (bad)
      for (auto& slot : step.metrics.span<float>()) slot += harm_.loss;
  }
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions& options) override {
    model_->evaluate(step, batch, options);
  }

 private:
  bool is_bad(const models::Batch& batch) const {
    const auto visits = batch.sequence_visit.span<std::int64_t>();
    const auto sequences = static_cast<std::size_t>(batch.num_sequences);
    return std::any_of(visits.begin(), visits.begin() + static_cast<std::ptrdiff_t>(sequences),
                       [this](std::int64_t visit) { return visit >= harm_.begin && visit < harm_.end; });
  }
  std::unique_ptr<models::Model> model_;
  Harm harm_;
};

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TinyJob harmed_job(Harm harm) {
  TinyJob setup{.steps = 24, .checkpoint_every = 4};
  setup.change = [=](TrainingJob& job) {
    job.guard = {.window = 8,
                 .loss_z = harm.loss != 0.0F ? 20.0 : 0.0,
                 .gradient_z = 20.0,
                 .rollback_after = 3,
                 .max_rollbacks = 2};
    job.build = [build = job.build, harm](Backend& backend) -> std::unique_ptr<models::Model> {
      return std::make_unique<BadData>(build(backend), harm);
    };
  };
  return setup;
}

TinyJob bad_data_job(std::int64_t begin, std::int64_t end, float gradient) {
  return harmed_job({.begin = begin, .end = end, .gradient = gradient});
}

// Steps of the tiny job see about 25 visits each, so this spoils some three steps in a row.
constexpr std::int64_t kBadBegin = 200, kBadEnd = 260;

nlohmann::json last_train_line(const fs::path& folder) {
  nlohmann::json last;
  for (const auto& line : testing::metrics(folder))
    if (auto json = nlohmann::json::parse(line); json["kind"] == "train") last = std::move(json);
  return last;
}

TEST(GuardRun, RepeatedSpikesGoBackAndLeaveTheirDataOut) {
  for (const float factor : {kNaN, 1e9F}) {
    const TemporaryFolder folder;
    EXPECT_TRUE(run(bad_data_job(kBadBegin, kBadEnd, factor), folder / "run"));
    const auto checkpoint = io::open_checkpoint_at(folder / "run");
    EXPECT_EQ(checkpoint.state.step, 24);
    const auto extra = nlohmann::json::parse(checkpoint.state.extra_json);
    EXPECT_EQ(extra["rollbacks"], 1);
    const auto& skips = extra["skipped_steps"];  // of the course that counts: at most the rest of the bad data
    EXPECT_LE(skips.size(), 1U);
    EXPECT_EQ(extra["optimizer_steps"], 24 - skips.size());
    const auto& left_out = checkpoint.state.skipped_visits;
    for (std::int64_t visit = kBadBegin; visit < kBadEnd; ++visit) {
      const bool in_skip = !skips.empty() && visit >= skips[0][1] && visit < skips[0][2];
      EXPECT_TRUE(in_skip || std::binary_search(left_out.begin(), left_out.end(), visit)) << visit;
    }
    EXPECT_EQ(last_train_line(folder / "run")["skipped_visits"], left_out.size());
    EXPECT_EQ(last_train_line(folder / "run")["rollbacks"], 1);
  }
}

// Stops where checkpoints are due anyway, so that there are the same ones to go back to.
TEST(GuardRun, StoppedBeforeBetweenAndBehindTheSpikesItEndsAlike) {
  for (const int ranks : {1, 2}) {
    const TemporaryFolder folder;
    auto setup = bad_data_job(kBadBegin, kBadEnd, kNaN);
    EXPECT_TRUE(run(setup, folder / "whole", ranks));
    const auto stop_at = [&](std::int64_t step) {
      auto stopping = setup;
      stopping.stop_after = step;
      EXPECT_FALSE(run(stopping, folder / "cut", ranks)) << step;
    };
    for (const int step : {4, 8, 12, 20}) stop_at(step);
    EXPECT_TRUE(run(setup, folder / "cut", ranks));
    expect_same_end(folder / "whole", folder / "cut");
  }
}

// The harm is done to the loss alone, in whole runs of one and of three ranks.
class LossSpikes : public ::testing::TestWithParam<int> {
 protected:
  // The visits that training sees, in order, of all ranks and steps.
  TinyJob recorded(TinyJob setup) {
    setup.prepare = [this](const data::HostBatch& batch, bool validating) {
      const std::lock_guard lock(mutex_);
      for (const auto& sequence : batch.sequences)
        if (!validating) seen_.push_back(sequence.visit);
    };
    return setup;
  }
  const TinyJob setup_ = harmed_job({.begin = kBadBegin, .end = kBadEnd, .loss = 1e4F});
  std::mutex mutex_;
  std::vector<std::int64_t> seen_;
};

INSTANTIATE_TEST_SUITE_P(Ranks, LossSpikes, ::testing::Values(1, 3));

TEST_P(LossSpikes, GoBackAndLeaveTheirDataOut) {
  const TemporaryFolder folder;
  EXPECT_TRUE(run(recorded(setup_), folder / "run", GetParam()));
  const auto checkpoint = io::open_checkpoint_at(folder / "run");
  const auto extra = nlohmann::json::parse(checkpoint.state.extra_json);
  EXPECT_EQ(extra["rollbacks"], 1);
  const auto& skips = extra["skipped_steps"];
  for (const auto& skip : skips) EXPECT_EQ(skip[3], static_cast<int>(Verdict::loss_spike));
  // Left out: seen once, before the way back. Behind them: once. All others: once, or again behind the way back.
  const auto& left_out = checkpoint.state.skipped_visits;
  EXPECT_GE(left_out.size(), 50U);
  for (std::int64_t visit = 0; visit < checkpoint.state.next_visit; ++visit) {
    const auto times = std::count(seen_.begin(), seen_.end(), visit);
    EXPECT_GE(times, 1) << visit;
    EXPECT_LE(times, std::binary_search(left_out.begin(), left_out.end(), visit) || visit > left_out.back() ? 1 : 2)
        << visit;
  }
  EXPECT_EQ(extra["optimizer_steps"], 24 - skips.size());
}

TEST_P(LossSpikes, KilledBehindTheWayBackItEndsAlike) {
  const TemporaryFolder folder;
  EXPECT_TRUE(run(setup_, folder / "whole", GetParam()));
  for (const std::int64_t stop : {4, 8, 12}) {
    auto stopping = setup_;
    stopping.stop_after = stop;
    EXPECT_FALSE(run(stopping, folder / "cut", GetParam()));
  }
  EXPECT_FALSE(io::open_checkpoint_at(folder / "cut").state.skipped_visits.empty()) << "it went back before step 12";
  EXPECT_TRUE(run(setup_, folder / "cut", GetParam()));
  expect_same_end(folder / "whole", folder / "cut");
}

TEST(GuardRun, TooManyTimesBackEndTheRunWithItsSteps) {
  const TemporaryFolder folder;
  auto setup = bad_data_job(kBadBegin, 100000, kNaN);
  setup.steps = 200;
  expect_error<DataError>([&] { run(setup, folder / "run"); },
                          {"10 steps in a row", "not finite", "visits", "records", "last good checkpoint"});
  const auto extra = nlohmann::json::parse(io::open_checkpoint_at(folder / "run").state.extra_json);
  EXPECT_EQ(extra["rollbacks"], 2);
}

TEST(GuardRun, WhatStaysFarOffButFiniteIsTakenAsTheNewCourse) {
  const TemporaryFolder folder;
  auto setup = bad_data_job(kBadBegin, 100000, 1e9F);
  setup.steps = 60;
  EXPECT_TRUE(run(setup, folder / "run"));
  const auto extra = nlohmann::json::parse(io::open_checkpoint_at(folder / "run").state.extra_json);
  EXPECT_EQ(extra["rollbacks"], 2);
  EXPECT_EQ(extra["skipped_steps"].size(), 10U);
  EXPECT_EQ(extra["optimizer_steps"], 50);
}

TEST(GuardRun, WithoutACheckpointBeforeTheSpikesItBeginsAnew) {
  const TemporaryFolder folder;
  auto setup = bad_data_job(0, 60, kNaN);
  EXPECT_TRUE(run(setup, folder / "run"));
  const auto checkpoint = io::open_checkpoint_at(folder / "run");
  EXPECT_EQ(checkpoint.state.skipped_visits.front(), 0);
  EXPECT_EQ(nlohmann::json::parse(checkpoint.state.extra_json)["optimizer_steps"], 24);
}

TEST(GuardRun, ASingleSpikeIsPassedOverAndCounted) {
  for (const int ranks : {1, 2}) {
    const TemporaryFolder folder;
    EXPECT_TRUE(run(bad_data_job(kBadBegin, kBadBegin + 1, 1e9F), folder / "run", ranks));
    const auto checkpoint = io::open_checkpoint_at(folder / "run");
    const auto extra = nlohmann::json::parse(checkpoint.state.extra_json);
    EXPECT_EQ(extra["optimizer_steps"], 23);
    EXPECT_EQ(extra["skipped_steps"].size(), 1U);
    EXPECT_EQ(extra["skipped_steps"][0][3], static_cast<int>(Verdict::gradient_spike));
    EXPECT_EQ(extra["rollbacks"], 0);
    EXPECT_EQ(last_train_line(folder / "run")["skipped_steps"], 1);
    EXPECT_TRUE(checkpoint.state.skipped_visits.empty());
  }
}

}  // namespace
}  // namespace lsd::train
