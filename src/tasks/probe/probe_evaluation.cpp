// SPDX-License-Identifier: Apache-2.0
#include "probe_evaluation_internal.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lsd/core/error.h"

namespace lsd::tasks {
namespace {

// Softmax of every row of logits, for areas under curves.
std::vector<double> probabilities(const std::vector<double>& logits, std::int64_t classes) {
  std::vector<double> result = logits;
  for (auto row = result.begin(); row != result.end(); row += classes) {
    const double largest = *std::max_element(row, row + classes);
    std::transform(row, row + classes, row, [&](double x) { return std::exp(x - largest); });
    const double sum = std::accumulate(row, row + classes, 0.0);
    std::transform(row, row + classes, row, [&](double x) { return x / sum; });
  }
  return result;
}

void score_regression(const std::vector<double>& outputs, const std::vector<double>& labels, std::int64_t resamples,
                      ProbeResult& result) {
  result.metric = "spearman";
  result.predictions = outputs;
  result.test_score = spearman(outputs, labels);
  result.test = {{"spearman", result.test_score}, {"mean_absolute_error", mean_absolute_error(outputs, labels)}};
  std::vector<double> chosen_outputs(labels.size()), chosen_labels(labels.size());
  result.interval =
      bootstrap_interval(static_cast<std::int64_t>(labels.size()), resamples, static_cast<std::uint32_t>(result.seed),
                         [&](std::span<const std::int64_t> rows) {
                           for (std::size_t i = 0; i < rows.size(); ++i) {
                             chosen_outputs[i] = outputs[static_cast<std::size_t>(rows[i])];
                             chosen_labels[i] = labels[static_cast<std::size_t>(rows[i])];
                           }
                           return spearman(chosen_outputs, chosen_labels);
                         });
}

void score_classes(const std::vector<double>& outputs, std::int64_t classes, const std::vector<double>& labels,
                   std::int64_t resamples, ProbeResult& result) {
  const std::vector<std::int64_t> label(labels.begin(), labels.end());
  const auto predicted = predicted_classes(outputs, classes);
  const auto chances = probabilities(outputs, classes);
  result.metric = "accuracy";
  result.predictions.assign(predicted.begin(), predicted.end());
  result.test_score = accuracy(predicted, label);
  result.test = {{"accuracy", result.test_score},
                 {"mcc", matthews_correlation(predicted, label)},
                 {"macro_f1", macro_f1(predicted, label)},
                 {"auc", macro_area_under_curve(chances, classes, label)}};
  result.interval =
      bootstrap_interval(static_cast<std::int64_t>(label.size()), resamples, static_cast<std::uint32_t>(result.seed),
                         [&](std::span<const std::int64_t> rows) {
                           std::int64_t correct = 0;
                           for (const auto row : rows) {
                             const auto i = static_cast<std::size_t>(row);
                             correct += predicted[i] == label[i] ? 1 : 0;
                           }
                           return static_cast<double>(correct) / static_cast<double>(rows.size());
                         });
}

void score(const data::Task& task, const std::vector<double>& outputs, const std::vector<double>& labels,
           std::int64_t resamples, ProbeResult& result) {
  result.labels = labels;
  if (task.kind == data::TaskKind::regression) {
    score_regression(outputs, labels, resamples, result);
  } else {
    score_classes(outputs, task.classes, labels, resamples, result);
  }
}

std::vector<double> labels_of(const data::Task& task, data::TaskSplit split) {
  std::vector<double> labels;
  for (const auto row : task.rows_of(split)) labels.push_back(task.rows[static_cast<std::size_t>(row)].label);
  return labels;
}

}  // namespace

void evaluate_head(const data::Task& task, const SequenceFeatures& features, const HeadOptions& options,
                   std::int64_t resamples, ProbeResult& result) {
  const auto train = rows_of_split(task, data::TaskSplit::train, features);
  const auto valid = rows_of_split(task, data::TaskSplit::valid, features);
  const auto head = train_head(task.kind, task.classes, train, valid, options);
  result.valid_score = head.best_valid_score;
  result.best_epoch = head.best_epoch;
  result.epochs = head.epochs;
  const auto test = rows_of_split(task, data::TaskSplit::test, features);
  score(task, head_outputs(head, test.features), test.labels, resamples, result);
}

void evaluate_majority(const data::Task& task, std::int64_t resamples, ProbeResult& result) {
  const auto train = labels_of(task, data::TaskSplit::train);
  std::vector<double> row;
  if (task.kind == data::TaskKind::regression) {
    row = {std::accumulate(train.begin(), train.end(), 0.0) / static_cast<double>(train.size())};
  } else {
    row.resize(static_cast<std::size_t>(task.classes));
    for (const double label : train) row[static_cast<std::size_t>(label)] += 1.0 / static_cast<double>(train.size());
  }
  const auto outputs_for = [&](std::size_t rows) {
    std::vector<double> outputs;
    for (std::size_t i = 0; i < rows; ++i) outputs.insert(outputs.end(), row.begin(), row.end());
    return outputs;
  };
  const auto valid = labels_of(task, data::TaskSplit::valid), test = labels_of(task, data::TaskSplit::test);
  result.valid_score = primary_score(task.kind, task.classes, outputs_for(valid.size()), valid);
  score(task, outputs_for(test.size()), test, resamples, result);
}

}  // namespace lsd::tasks
