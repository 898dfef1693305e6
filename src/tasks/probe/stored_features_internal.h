// SPDX-License-Identifier: Apache-2.0
#pragma once
// Features of a task's sequences from dumps that were made elsewhere, instead of from models.

#include <filesystem>
#include <string>
#include <vector>

#include "lsd/data/task_reader.h"
#include "lsd/io/embedding_format.h"
#include "probe_features_internal.h"

namespace lsd::tasks {

// Dumps of the same features, of different sequences: together they hold those of a task.
struct StoredFeatureSet {
  io::EmbeddingIdentity identity;  // of the first; the others differ in source and packing at most
  std::vector<std::filesystem::path> folders;

  std::string origin() const;  // what a result says of its weights
};

// One set per representation and t, in the order of their first folders. Throws UserError when two dumps hold the same
// representation and t from different models or options.
std::vector<StoredFeatureSet> stored_feature_sets(const std::vector<std::string>& folders);

// One vector per distinct sequence of the task: its stored mean, or the mean over its stored residues. Sequences are
// found by their residues; in dumps of older programs, which do not tell them, by id and length. Throws DataError
// naming those that are missing.
SequenceFeatures read_stored_features(const StoredFeatureSet& set, const data::Task& task);

}  // namespace lsd::tasks
