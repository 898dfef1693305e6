// SPDX-License-Identifier: Apache-2.0
#pragma once
// Features of the rows of a task, from one vector per distinct sequence.

#include <cstdint>
#include <vector>

#include "lsd/data/task_reader.h"
#include "lsd/tasks/probe_head.h"

namespace lsd::tasks {

// [sequences, width] of Task::sequences.
struct SequenceFeatures {
  std::int64_t width = 0;
  std::vector<float> values;
};

// Frequencies of the 20 amino acids among all residues, and the logarithm of the length: width 21.
SequenceFeatures composition_features(const data::Task& task);

// Rows of one split; pairs get their two sequences' vectors one behind the other.
LabelledRows rows_of_split(const data::Task& task, data::TaskSplit split, const SequenceFeatures& features);

}  // namespace lsd::tasks
