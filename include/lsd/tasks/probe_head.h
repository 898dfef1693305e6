// SPDX-License-Identifier: Apache-2.0
#pragma once
// The small head that a probe trains on frozen features: `linear`, or `mlp` = dense, tanh, dense. Features (and labels
// of a regression) are standardised by the moments of the training rows, which belong to the head. AdamW on
// mini-batches; the epoch with the best validation score is kept. One thread, fixed order: same bits every time.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lsd/data/task_reader.h"

namespace lsd::tasks {

struct FeatureMatrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> values;  // [rows, columns]
};

struct LabelledRows {
  FeatureMatrix features;
  std::vector<double> labels;
};

struct HeadOptions {
  std::string kind = "mlp";  // linear | mlp
  std::int64_t hidden = 256;
  std::int64_t epochs = 50;
  std::int64_t patience = 10;  // epochs without a better validation score before stopping
  std::int64_t batch = 64;
  double learning_rate = 1e-3;
  double weight_decay = 0.01;
  std::uint32_t seed = 1;
  std::function<void()> on_epoch = {};  // behind each epoch
};

struct DenseLayer {
  std::int64_t inputs = 0, outputs = 0;
  std::vector<float> weight, bias;  // [outputs, inputs], [outputs]
};

struct ProbeHead {
  std::vector<float> feature_mean, feature_scale;  // x -> (x - mean) * scale; scale 0 for a constant feature
  double label_mean = 0.0, label_deviation = 1.0;  // of a regression
  std::vector<DenseLayer> layers;
  std::int64_t best_epoch = 0, epochs = 0;  // epochs: how many were trained
  double best_valid_score = 0.0;
};

// Raw outputs [rows, outputs]: one logit per class, or the value in label units for a regression.
std::vector<double> head_outputs(const ProbeHead& head, const FeatureMatrix& features);
// The number of the largest logit of each row, the lowest on ties.
std::vector<std::int64_t> predicted_classes(const std::vector<double>& outputs, std::int64_t classes);
// What a probe is judged by: Spearman for a regression, else accuracy.
double primary_score(data::TaskKind kind, std::int64_t classes, const std::vector<double>& outputs,
                     const std::vector<double>& labels);

ProbeHead train_head(data::TaskKind kind, std::int64_t classes, const LabelledRows& train, const LabelledRows& valid,
                     const HeadOptions& options);

}  // namespace lsd::tasks
