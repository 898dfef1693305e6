// SPDX-License-Identifier: Apache-2.0
// A probe sees features on one scale whatever scale they come on, by the moments of the training rows alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "lsd/core/philox.h"
#include "lsd/tasks/probe_head.h"
#include "probe/probe_evaluation_internal.h"

namespace lsd::tasks {
namespace {

constexpr std::size_t kColumns = 3;

struct Case {
  std::string name, head;
  data::TaskKind kind;
  double least_score;  // on the test rows
};
void PrintTo(const Case& each, std::ostream* out) {
  *out << each.name;
}

// Features uniform in (-1, 1). What is asked for needs the first two alike; the third says nothing.
LabelledRows make_rows(data::TaskKind kind, std::size_t count, std::uint64_t visit) {
  LabelledRows rows{.features = {.rows = static_cast<std::int64_t>(count), .columns = kColumns}};
  const auto key = random_key(31, RandomStream::sample);
  for (std::uint32_t i = 0; i < count * kColumns; ++i)
    rows.features.values.push_back(2.0F * random_uniform(key, i, visit) - 1.0F);
  for (std::size_t row = 0; row < count; ++row) {
    const float* x = rows.features.values.data() + row * kColumns;
    const double sum = static_cast<double>(x[0]) + static_cast<double>(x[1]);
    rows.labels.push_back(kind == data::TaskKind::regression ? 50.0 + 3.0 * sum : sum > 0.0 ? 1.0 : 0.0);
  }
  return rows;
}

struct Splits {
  LabelledRows train, valid, test;
};

Splits make_splits(data::TaskKind kind) {
  return {make_rows(kind, 1000, 1), make_rows(kind, 50, 2), make_rows(kind, 200, 3)};
}

template <class Change>
Splits changed(Splits splits, Change&& change) {
  for (auto* rows : {&splits.train, &splits.valid, &splits.test}) {
    auto& values = rows->features.values;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = change(i % kColumns, values[i]);
  }
  return splits;
}

// By the training rows' moments, worked out here in double.
Splits standardised(const Splits& splits) {
  const auto& train = splits.train.features;
  std::array<double, kColumns> sum{}, squares{};
  for (std::size_t i = 0; i < train.values.size(); ++i) sum[i % kColumns] += static_cast<double>(train.values[i]);
  const auto n = static_cast<double>(train.rows);
  for (std::size_t i = 0; i < train.values.size(); ++i)
    squares[i % kColumns] += std::pow(static_cast<double>(train.values[i]) - sum[i % kColumns] / n, 2);
  return changed(splits, [&](std::size_t column, float x) {
    return static_cast<float>((static_cast<double>(x) - sum[column] / n) / std::sqrt(squares[column] / n));
  });
}

// After one epoch of 125 steps: with more, the last bit of an output could choose another one of them.
std::vector<double> test_outputs(const Case& each, const Splits& splits) {
  const HeadOptions options = {.kind = each.head, .hidden = 16, .epochs = 1, .batch = 8, .learning_rate = 2e-2};
  return head_outputs(train_head(each.kind, 2, splits.train, splits.valid, options), splits.test.features);
}

class ProbeStandardisation : public ::testing::TestWithParam<Case> {};

// One feature far from 0, one tiny, one as it was: without standardising, none of the three cases learns its labels.
TEST_P(ProbeStandardisation, FeaturesOfAnyScaleGiveTheOutputsOfStandardisedOnes) {
  const auto splits = make_splits(GetParam().kind);
  const auto far_off = changed(splits, [](std::size_t column, float x) {
    return column == 0 ? 1000.0F * x + 5000.0F : column == 1 ? 1e-3F * x : x;
  });
  const auto wanted = test_outputs(GetParam(), standardised(splits)), found = test_outputs(GetParam(), far_off);
  ASSERT_EQ(found.size(), wanted.size());
  // 5000 has float32's 24 bits, so that a feature of deviation 577 is known to 4e-7 of it.
  for (std::size_t i = 0; i < wanted.size(); ++i)
    EXPECT_NEAR(found[i], wanted[i], 1e-3 * (1.0 + std::abs(wanted[i]))) << "output " << i;
  const auto score = [&](const std::vector<double>& outputs) {
    return primary_score(GetParam().kind, 2, outputs, splits.test.labels);
  };
  EXPECT_NEAR(score(found), score(wanted), 0.006) << "a row of 200 on the border may change sides";
  EXPECT_GT(score(found), GetParam().least_score);
}

// Powers of two round nowhere: whatever unit a feature is measured in, the head is the same.
TEST_P(ProbeStandardisation, TheUnitOfAFeatureChangesNoBit) {
  constexpr std::array<float, kColumns> kUnits = {1024.0F, 0x1p-30F, 8.0F};
  const auto splits = make_splits(GetParam().kind);
  const auto other = changed(splits, [&](std::size_t column, float x) { return kUnits[column] * x; });
  EXPECT_EQ(test_outputs(GetParam(), other), test_outputs(GetParam(), splits));
}

INSTANTIATE_TEST_SUITE_P(Heads, ProbeStandardisation,
                         ::testing::Values(Case{"linear", "linear", data::TaskKind::binary, 0.9},
                                           Case{"mlp", "mlp", data::TaskKind::binary, 0.9},
                                           Case{"regression", "linear", data::TaskKind::regression, 0.99}),
                         [](const auto& each) { return each.param.name; });

// Columns 1, 3, 5, 7 and 10, 10, 30, 30: means 4 and 20, variances 5 and 100.
TEST(ProbeMoments, AreThoseOfTheTrainingRowsByHand) {
  const LabelledRows train{.features = {.rows = 4, .columns = 2, .values = {1, 10, 3, 10, 5, 30, 7, 30}},
                           .labels = {0, 1, 0, 1}};
  const LabelledRows valid{.features = {.rows = 2, .columns = 2, .values = {1e6F, -1e6F, 1e5F, 7}}, .labels = {0, 1}};
  const auto head = train_head(data::TaskKind::binary, 2, train, valid, {.kind = "linear", .epochs = 1});
  EXPECT_THAT(head.feature_mean, ::testing::ElementsAre(4.0F, 20.0F));
  EXPECT_THAT(head.feature_scale, ::testing::ElementsAre(::testing::FloatEq(0.4472136F), ::testing::FloatEq(0.1F)));
}

// A whole task, 40 training, 20 validation and 20 test rows in that order, each with a sequence of its own.
class ProbeOfWildRows : public ::testing::Test {
 protected:
  static constexpr std::size_t kTrain = 40, kValid = 20, kTest = 20, kRows = kTrain + kValid + kTest;

  ProbeOfWildRows() {
    const auto rows = make_rows(data::TaskKind::regression, kRows, 9);
    features_ = {.width = kColumns, .values = rows.features.values};
    task_.kind = data::TaskKind::regression;
    task_.sequences.resize(kRows, {5});
    for (std::size_t row = 0; row < kRows; ++row)
      task_.rows.push_back({.sequence = {static_cast<std::int64_t>(row), -1},
                            .label = rows.labels[row],
                            .split = row < kTrain            ? data::TaskSplit::train
                                     : row < kTrain + kValid ? data::TaskSplit::valid
                                                             : data::TaskSplit::test});
  }
  // One epoch, so that validation has nothing to choose between.
  std::vector<double> predictions(const SequenceFeatures& features) const {
    ProbeResult result;
    evaluate_head(task_, features, {.kind = "mlp", .hidden = 8, .epochs = 1, .batch = 8, .learning_rate = 1e-2}, 10,
                  result);
    return result.predictions;
  }
  SequenceFeatures with_wild_row(std::size_t row) const {
    auto wild = features_;
    for (std::size_t column = 0; column < kColumns; ++column)
      wild.values[row * kColumns + column] = column == 1 ? -1e6F : 1e6F;
    return wild;
  }

  data::Task task_;
  SequenceFeatures features_;
};

TEST_F(ProbeOfWildRows, ATestRowChangesItsOwnPredictionAlone) {
  auto usual = predictions(features_), wild = predictions(with_wild_row(kRows - 1));
  ASSERT_EQ(usual.size(), kTest);
  EXPECT_NE(wild.back(), usual.back());
  usual.pop_back();
  wild.pop_back();
  EXPECT_EQ(wild, usual);
}

TEST_F(ProbeOfWildRows, AValidationRowChangesNone) {
  EXPECT_EQ(predictions(with_wild_row(kTrain)), predictions(features_));
}

TEST_F(ProbeOfWildRows, ATrainingRowChangesAll) {
  const auto usual = predictions(features_), wild = predictions(with_wild_row(0));
  for (std::size_t row = 0; row < usual.size(); ++row) EXPECT_NE(wild[row], usual[row]) << row;
}

}  // namespace
}  // namespace lsd::tasks
