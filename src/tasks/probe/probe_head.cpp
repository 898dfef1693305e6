// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/probe_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>

#include "head_step_internal.h"
#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "lsd/tasks/probe_statistics.h"

namespace lsd::tasks {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
// The variance, in squares of its mean, below which a feature says nothing: what float32 makes of a constant.
constexpr double kConstantFeature = 1e-12;
constexpr std::int64_t kOutputRows = 1024;  // rows per product when only evaluating
// Coordinates of RandomStream::probe: visit 0 draws initial weights, visit e >= 1 the order of epoch e.
constexpr std::uint64_t kInitVisit = 0;

void set_feature_moments(const FeatureMatrix& features, ProbeHead& head) {
  const auto columns = static_cast<std::size_t>(features.columns);
  std::vector<double> mean(columns), variance(columns);
  const auto each = [&](auto&& body) {
    for (std::size_t i = 0; i < features.values.size(); ++i) body(i % columns, static_cast<double>(features.values[i]));
  };
  const auto rows = static_cast<double>(features.rows);
  each([&](std::size_t c, double x) { mean[c] += x / rows; });
  each([&](std::size_t c, double x) { variance[c] += (x - mean[c]) * (x - mean[c]) / rows; });
  head.feature_mean.assign(mean.begin(), mean.end());
  head.feature_scale.resize(columns);
  for (std::size_t c = 0; c < columns; ++c) {
    const bool constant = variance[c] <= kConstantFeature * mean[c] * mean[c];
    head.feature_scale[c] = constant ? 0.0F : static_cast<float>(1.0 / std::sqrt(variance[c]));
  }
}

void set_label_moments(const std::vector<double>& labels, ProbeHead& head) {
  const auto rows = static_cast<double>(labels.size());
  head.label_mean = std::accumulate(labels.begin(), labels.end(), 0.0) / rows;
  double variance = 0.0;
  for (const double label : labels) variance += (label - head.label_mean) * (label - head.label_mean) / rows;
  head.label_deviation = variance > 0.0 ? std::sqrt(variance) : 1.0;
}

std::vector<float> standardised(const ProbeHead& head, const FeatureMatrix& features) {
  const auto columns = static_cast<std::size_t>(features.columns);
  check(columns == head.feature_mean.size(), "features as wide as those the head was trained on");
  std::vector<float> x(features.values.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % columns;
    x[i] = (features.values[i] - head.feature_mean[c]) * head.feature_scale[c];
  }
  return x;
}

DenseLayer make_layer(std::int64_t inputs, std::int64_t outputs) {
  return {.inputs = inputs,
          .outputs = outputs,
          .weight = std::vector<float>(static_cast<std::size_t>(inputs * outputs)),
          .bias = std::vector<float>(static_cast<std::size_t>(outputs))};
}

// Hidden weights uniform in +-1/sqrt(inputs); output weights start at 0, so no class is preferred at first.
std::vector<DenseLayer> make_layers(std::int64_t inputs, std::int64_t outputs, const HeadOptions& options) {
  if (options.kind == "linear") return {make_layer(inputs, outputs)};
  if (options.kind != "mlp") throw UserError(fmt::format("unknown head `{}`; it must be linear or mlp", options.kind));
  std::vector<DenseLayer> layers = {make_layer(inputs, options.hidden), make_layer(options.hidden, outputs)};
  const RandomKey key = random_key(options.seed, RandomStream::probe);
  const float limit = 1.0F / std::sqrt(static_cast<float>(inputs));
  for (std::size_t i = 0; i < layers[0].weight.size(); ++i) {
    layers[0].weight[i] = limit * (2.0F * random_uniform(key, static_cast<std::uint32_t>(i), kInitVisit) - 1.0F);
  }
  return layers;
}

class HeadOptimizer {
 public:
  HeadOptimizer(const std::vector<DenseLayer>& layers, const HeadOptions& options) : options_(options) {
    for (const auto& layer : layers) {
      first_.push_back(make_layer(layer.inputs, layer.outputs));
      second_.push_back(make_layer(layer.inputs, layer.outputs));
    }
  }

  void step(std::vector<DenseLayer>& layers, const std::vector<DenseLayer>& gradients) {
    ++steps_;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      update(layers[i].weight, gradients[i].weight, first_[i].weight, second_[i].weight, options_.weight_decay);
      update(layers[i].bias, gradients[i].bias, first_[i].bias, second_[i].bias, 0.0);
    }
  }

 private:
  void update(std::vector<float>& value, const std::vector<float>& grad, std::vector<float>& first,
              std::vector<float>& second, double decay) const {
    const auto rate = static_cast<float>(options_.learning_rate / (1.0 - std::pow(kBeta1, steps_)));
    const auto correction = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(kBeta2, steps_)));
    const auto keep = static_cast<float>(1.0 - options_.learning_rate * decay);
    constexpr auto beta1 = static_cast<float>(kBeta1), beta2 = static_cast<float>(kBeta2);
    for (std::size_t i = 0; i < value.size(); ++i) {
      first[i] = beta1 * first[i] + (1.0F - beta1) * grad[i];
      second[i] = beta2 * second[i] + (1.0F - beta2) * grad[i] * grad[i];
      const float root = std::sqrt(second[i]) * correction + static_cast<float>(kEpsilon);
      value[i] = keep * value[i] - rate * first[i] / root;
    }
  }

  HeadOptions options_;
  std::vector<DenseLayer> first_, second_;
  std::int64_t steps_ = 0;
};

std::vector<std::size_t> epoch_order(std::size_t rows, std::int64_t epoch, std::uint32_t seed) {
  const RandomKey key = random_key(seed, RandomStream::probe);
  std::vector<std::uint32_t> words(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    words[i] = random_word(key, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(epoch));
  }
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return words[a] < words[b]; });
  return order;
}

class HeadTrainer {
 public:
  HeadTrainer(data::TaskKind kind, std::int64_t classes, const LabelledRows& train, const HeadOptions& options)
      : kind_(kind), options_(options), train_(train) {
    set_feature_moments(train.features, head_);
    if (kind == data::TaskKind::regression) set_label_moments(train.labels, head_);
    head_.layers = make_layers(train.features.columns, kind == data::TaskKind::regression ? 1 : classes, options);
    x_ = standardised(head_, train.features);
    gradients_ = head_.layers;
    optimizer_.emplace(head_.layers, options);
  }

  void run_epoch(std::int64_t epoch) {
    const auto order = epoch_order(train_.labels.size(), epoch, options_.seed);
    const auto batch = static_cast<std::size_t>(options_.batch);
    for (std::size_t begin = 0; begin < order.size(); begin += batch) {
      const std::span rows(order.data() + begin, std::min(batch, order.size() - begin));
      const double loss = head_loss(head_.layers, gather(rows), targets_of(rows), gradients_);
      if (!std::isfinite(loss)) {
        throw DataError(
            fmt::format("the probe's head diverged in epoch {} (loss {}): lower head.learning_rate, or look "
                        "for features that are not finite",
                        epoch, loss));
      }
      optimizer_->step(head_.layers, gradients_);
    }
  }

  ProbeHead& head() { return head_; }

 private:
  std::vector<float> gather(std::span<const std::size_t> rows) const {
    const auto columns = static_cast<std::size_t>(train_.features.columns);
    std::vector<float> x;
    x.reserve(rows.size() * columns);
    for (const std::size_t row : rows) {
      const auto* begin = x_.data() + row * columns;
      x.insert(x.end(), begin, begin + columns);
    }
    return x;
  }

  HeadTargets targets_of(std::span<const std::size_t> rows) const {
    HeadTargets targets;
    for (const std::size_t row : rows) {
      const double label = train_.labels[row];
      if (kind_ == data::TaskKind::regression) {
        targets.values.push_back(static_cast<float>((label - head_.label_mean) / head_.label_deviation));
      } else {
        targets.classes.push_back(static_cast<std::int64_t>(label));
      }
    }
    return targets;
  }

  data::TaskKind kind_;
  HeadOptions options_;
  const LabelledRows& train_;
  ProbeHead head_;
  std::vector<float> x_;
  std::vector<DenseLayer> gradients_;
  std::optional<HeadOptimizer> optimizer_;
};

}  // namespace

std::vector<double> head_outputs(const ProbeHead& head, const FeatureMatrix& features) {
  const auto x = standardised(head, features);
  std::vector<double> outputs;
  for (std::int64_t begin = 0; begin < features.rows; begin += kOutputRows) {
    const std::int64_t rows = std::min(kOutputRows, features.rows - begin);
    const std::span part(x.data() + begin * features.columns, static_cast<std::size_t>(rows * features.columns));
    for (const float y : head_forward(head.layers, part, rows)) {
      outputs.push_back(static_cast<double>(y) * head.label_deviation + head.label_mean);
    }
  }
  return outputs;
}

std::vector<std::int64_t> predicted_classes(const std::vector<double>& outputs, std::int64_t classes) {
  std::vector<std::int64_t> predictions;
  for (auto row = outputs.begin(); row != outputs.end(); row += classes) {
    predictions.push_back(std::max_element(row, row + classes) - row);
  }
  return predictions;
}

double primary_score(data::TaskKind kind, std::int64_t classes, const std::vector<double>& outputs,
                     const std::vector<double>& labels) {
  if (kind == data::TaskKind::regression) return spearman(outputs, labels);
  const std::vector<std::int64_t> label(labels.begin(), labels.end());
  return accuracy(predicted_classes(outputs, classes), label);
}

ProbeHead train_head(data::TaskKind kind, std::int64_t classes, const LabelledRows& train, const LabelledRows& valid,
                     const HeadOptions& options) {
  HeadTrainer trainer(kind, classes, train, options);
  ProbeHead best;
  for (std::int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
    trainer.run_epoch(epoch);
    const double score = primary_score(kind, classes, head_outputs(trainer.head(), valid.features), valid.labels);
    if (best.best_epoch == 0 || score > best.best_valid_score) {
      best = trainer.head();
      best.best_epoch = epoch;
      best.best_valid_score = score;
    }
    best.epochs = epoch;
    if (options.on_epoch) options.on_epoch();
    if (epoch - best.best_epoch >= options.patience) break;
  }
  return best;
}

}  // namespace lsd::tasks
