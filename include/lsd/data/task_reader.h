// SPDX-License-Identifier: Apache-2.0
#pragma once
// A probing task from a CSV file, plain, gzip or zstd: header `id,sequence,label,split` or, for pairs,
// `id,sequence_a,sequence_b,label,split`; split is train, valid or test; no quoting. Everything odd is refused with
// file, line and the row's id: labels that are missing, text, NaN or infinite, classes that are no integer from 0 or
// leave gaps, unknown splits, wrong column counts, quotes, ids used twice, bytes that are no residues, a split without
// rows, a sequence in two splits. docs/formats/tasks.md has the rules.

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lsd::data {

enum class TaskKind : std::uint8_t { regression, binary, classes };
enum class TaskSplit : std::uint8_t { train, valid, test };

TaskKind task_kind_from_name(std::string_view name);  // throws UserError
std::string_view name_of(TaskKind kind);
std::string_view name_of(TaskSplit split);

struct TaskOptions {
  TaskKind kind = TaskKind::regression;
  std::int64_t classes = 0;             // of TaskKind::classes; 0: the largest label plus one
  bool allow_shared_sequences = false;  // a sequence in two splits: counted instead of refused
};

struct TaskRow {
  std::string id;
  std::array<std::int64_t, 2> sequence = {-1, -1};  // numbers in Task::sequences; [1] is -1 unless the task has pairs
  double label = 0.0;
  TaskSplit split = TaskSplit::train;
};

struct Task {
  std::string file;  // it was read from, for messages
  TaskKind kind = TaskKind::regression;
  bool pairs = false;
  std::int64_t classes = 0;                          // 0 for regression, 2 for binary
  std::vector<std::vector<std::uint8_t>> sequences;  // distinct by token ids, in order of first appearance
  std::vector<std::string> sequence_ids;             // id of the row a sequence was first seen in; pairs: id.a or id.b
  std::vector<TaskRow> rows;                         // in file order
  std::int64_t shared_sequences = 0;                 // distinct sequences that stand in more than one split
  std::int64_t odd_residues = 0;                     // X, B, U, Z, O and J (read as X), of distinct sequences
  std::int64_t lower_case_residues = 0;              // read as upper case, of distinct sequences as first seen
  std::string fingerprint;                           // of the decompressed file and the options

  std::vector<std::int64_t> rows_of(TaskSplit split) const;
};

Task read_task(const std::filesystem::path& path, const TaskOptions& options);

// For who trains and scores on the labels. Throws DataError when that is pointless: training rows of one label, or, for
// a regression, validation or test rows of one. Gives what is usable but odd, one sentence each: classes without
// training rows or without any, test rows of one class, lower case.
std::vector<std::string> judge_labels(const Task& task);

}  // namespace lsd::data
