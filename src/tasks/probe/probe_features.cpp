// SPDX-License-Identifier: Apache-2.0
#include "probe_features_internal.h"

#include <cmath>

#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"

namespace lsd::tasks {
namespace {

constexpr std::int64_t kAminoAcids = data::kLastAminoAcid - data::kFirstAminoAcid + 1;

}  // namespace

SequenceFeatures composition_features(const data::Task& task) {
  SequenceFeatures features{.width = kAminoAcids + 1};
  for (const auto& sequence : task.sequences) {
    std::vector<float> row(static_cast<std::size_t>(features.width));
    const auto length = static_cast<float>(sequence.size());
    for (const auto token : sequence) {
      if (data::is_standard_residue(token)) row[token - data::kFirstAminoAcid] += 1.0F / length;
    }
    row.back() = std::log(length);
    features.values.insert(features.values.end(), row.begin(), row.end());
  }
  return features;
}

LabelledRows rows_of_split(const data::Task& task, data::TaskSplit split, const SequenceFeatures& features) {
  check(features.values.size() == task.sequences.size() * static_cast<std::size_t>(features.width),
        "one feature vector for each sequence of the task");
  LabelledRows rows;
  rows.features.columns = features.width * (task.pairs ? 2 : 1);
  for (const auto& row : task.rows) {
    if (row.split != split) continue;
    for (const auto sequence : row.sequence) {
      if (sequence < 0) continue;
      const auto* begin = features.values.data() + sequence * features.width;
      rows.features.values.insert(rows.features.values.end(), begin, begin + features.width);
    }
    rows.labels.push_back(row.label);
    ++rows.features.rows;
  }
  return rows;
}

}  // namespace lsd::tasks
