// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "lsd/core/error.h"
#include "lsd/data/task_reader.h"

namespace lsd::data {
namespace {

struct Uses {
  std::array<std::int64_t, 3> rows = {};  // by split
  std::string first_id;
};

std::map<double, Uses> uses_of_labels(const Task& task) {
  std::map<double, Uses> labels;
  for (const auto& row : task.rows) {
    auto& uses = labels[row.label];
    if (uses.first_id.empty()) uses.first_id = row.id;
    ++uses.rows[static_cast<std::size_t>(row.split)];
  }
  return labels;
}

std::int64_t different_labels(const std::map<double, Uses>& labels, TaskSplit split) {
  return std::ranges::count_if(
      labels, [&](const auto& entry) { return entry.second.rows[static_cast<std::size_t>(split)] > 0; });
}

void require_different_labels(const Task& task, const std::map<double, Uses>& labels, TaskSplit split) {
  if (different_labels(labels, split) >= 2) return;
  throw DataError(fmt::format(
      "{}: all rows of split {} have the label {}: {}; look at the label column", task.file, name_of(split),
      task.rows[static_cast<std::size_t>(task.rows_of(split)[0])].label,
      split == TaskSplit::train ? "there is nothing to learn" : "a rank correlation needs two different ones"));
}

void note_classes(const Task& task, const std::map<double, Uses>& labels, std::vector<std::string>& notes) {
  for (std::int64_t name = 0; name < task.classes; ++name) {
    const auto found = labels.find(static_cast<double>(name));
    if (found == labels.end()) {
      notes.push_back(fmt::format("{}: no row has the class {}, of {} classes", task.file, name, task.classes));
    } else if (const auto& uses = found->second; uses.rows[0] == 0) {
      notes.push_back(
          fmt::format("{}: class {} has {} validation and {} test rows (the first is `{}`) and no training row: every "
                      "prediction of it will be wrong",
                      task.file, name, uses.rows[1], uses.rows[2], uses.first_id));
    }
  }
  if (different_labels(labels, TaskSplit::test) < 2)
    notes.push_back(fmt::format("{}: all test rows have one class: AUC and MCC say nothing", task.file));
}

}  // namespace

std::vector<std::string> judge_labels(const Task& task) {
  constexpr std::size_t kMostNotes = 8;
  const auto labels = uses_of_labels(task);
  std::vector<std::string> notes;
  require_different_labels(task, labels, TaskSplit::train);
  if (task.kind == TaskKind::regression) {
    for (const auto split : {TaskSplit::valid, TaskSplit::test}) require_different_labels(task, labels, split);
  } else {
    note_classes(task, labels, notes);
  }
  if (notes.size() > kMostNotes) {
    const auto more = notes.size() - kMostNotes;
    notes.resize(kMostNotes);
    notes.push_back(fmt::format("{}: {} more such classes", task.file, more));
  }
  if (task.lower_case_residues > 0) {
    notes.push_back(
        fmt::format("{}: {} lower-case residues are read as upper case", task.file, task.lower_case_residues));
  }
  return notes;
}

TaskKind task_kind_from_name(std::string_view name) {
  for (const auto kind : {TaskKind::regression, TaskKind::binary, TaskKind::classes}) {
    if (name == name_of(kind)) return kind;
  }
  throw UserError(fmt::format("unknown task kind `{}`; it must be regression, binary or classes", name));
}

std::string_view name_of(TaskKind kind) {
  switch (kind) {
    case TaskKind::regression:
      return "regression";
    case TaskKind::binary:
      return "binary";
    case TaskKind::classes:
      return "classes";
  }
  return "";
}

std::string_view name_of(TaskSplit split) {
  switch (split) {
    case TaskSplit::train:
      return "train";
    case TaskSplit::valid:
      return "valid";
    case TaskSplit::test:
      return "test";
  }
  return "";
}

std::vector<std::int64_t> Task::rows_of(TaskSplit split) const {
  std::vector<std::int64_t> numbers;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].split == split) numbers.push_back(static_cast<std::int64_t>(i));
  }
  return numbers;
}

}  // namespace lsd::data
