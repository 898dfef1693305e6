// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/task_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <unordered_map>

#include "byte_stream_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"

namespace lsd::data {
namespace {

constexpr std::string_view kSingleHeader = "id,sequence,label,split";
constexpr std::string_view kPairHeader = "id,sequence_a,sequence_b,label,split";
constexpr std::int64_t kMostClasses = 10000;

// Token of an upper-case residue letter; J, which ESM-2 lacks, is X.
std::optional<std::uint8_t> residue_token(char letter) {
  if (letter == 'J') return kUnknownResidue;
  for (std::uint8_t token = kFirstAminoAcid; token < kTokens.size(); ++token) {
    if (kTokens[token].size() == 1 && kTokens[token][0] == letter && letter >= 'A' && letter <= 'Z') return token;
  }
  return std::nullopt;
}

class TaskParser {
 public:
  TaskParser(std::string name, const TaskOptions& options) : name_(std::move(name)), options_(options) {
    task_.kind = options.kind;
  }

  Task parse(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      std::string_view line = text.substr(begin, end - begin);
      begin = end + 1;
      ++line_;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty() && begin >= text.size()) break;
      line_ == 1 ? read_header(line) : read_row(line);
    }
    finish();
    return std::move(task_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const { throw DataError(fmt::format("{}:{}: {}", name_, line_, what)); }

  void read_header(std::string_view line) {
    if (line == kPairHeader) {
      task_.pairs = true;
    } else if (line != kSingleHeader) {
      fail(fmt::format("the header is `{}`; it must be `{}` or `{}`", line.substr(0, 80), kSingleHeader, kPairHeader));
    }
  }

  std::vector<std::string_view> split_fields(std::string_view line) const {
    if (line.find('"') != std::string_view::npos) {
      fail("a quoted field: this format has no quoting; write fields without quotes and without commas");
    }
    std::vector<std::string_view> fields;
    std::size_t begin = 0;
    while (true) {
      const std::size_t end = std::min(line.find(',', begin), line.size());
      fields.push_back(line.substr(begin, end - begin));
      if (end == line.size()) break;
      begin = end + 1;
    }
    const std::size_t wanted = task_.pairs ? 5 : 4;
    if (fields.size() != wanted) fail(fmt::format("{} columns where the header has {}", fields.size(), wanted));
    return fields;
  }

  void read_row(std::string_view line) {
    const auto fields = split_fields(line);
    TaskRow row;
    row.id = std::string(fields[0]);
    if (row.id.empty()) fail("the id is missing");
    const auto [first, is_new] = line_of_id_.emplace(row.id, line_);
    if (!is_new) fail(fmt::format("id `{}` was already used in line {}; ids must be unique", row.id, first->second));
    row.split = read_split(fields[fields.size() - 1]);
    row.label = read_label(fields[fields.size() - 2]);
    row.sequence[0] = add_sequence(fields[1], row, task_.pairs ? row.id + ".a" : row.id);
    if (task_.pairs) row.sequence[1] = add_sequence(fields[2], row, row.id + ".b");
    task_.rows.push_back(std::move(row));
  }

  TaskSplit read_split(std::string_view field) const {
    for (const auto split : {TaskSplit::train, TaskSplit::valid, TaskSplit::test}) {
      if (field == name_of(split)) return split;
    }
    fail(fmt::format("unknown split `{}`; it must be train, valid or test", field.substr(0, 40)));
  }

  double read_label(std::string_view field) const {
    if (field.empty()) fail("the label is missing");
    double value = 0.0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error == std::errc::result_out_of_range)
      fail(fmt::format("label `{}` does not fit a number", field.substr(0, 40)));
    if (error != std::errc{} || end != field.data() + field.size()) {
      fail(fmt::format("label `{}` is not a number", field.substr(0, 40)));
    }
    if (!std::isfinite(value)) fail(fmt::format("label `{}` is not a finite number", field));
    if (task_.kind != TaskKind::regression) check_class(field, value);
    return value;
  }

  void check_class(std::string_view field, double value) const {
    const double limit = static_cast<double>(task_.kind == TaskKind::binary ? 2
                                             : options_.classes > 0         ? options_.classes
                                                                            : kMostClasses);
    if (value != std::floor(value) || value < 0 || value >= limit) {
      fail(fmt::format("label `{}` is no class: classes are integers from 0 to {}", field.substr(0, 40), limit - 1));
    }
  }

  std::int64_t add_sequence(std::string_view letters, const TaskRow& row, std::string id) {
    if (letters.empty()) fail("the sequence is empty");
    const auto next = static_cast<std::int64_t>(task_.sequences.size());
    const auto [entry, is_new] = number_of_sequence_.emplace(std::string(letters), next);
    if (is_new) {
      task_.sequences.push_back(tokens_of(letters));
      task_.sequence_ids.push_back(std::move(id));
      seen_in_.push_back({row.split, line_, false});
    } else {
      note_second_use(entry->second, row.split);
    }
    return entry->second;
  }

  void note_second_use(std::int64_t sequence, TaskSplit split) {
    auto& seen = seen_in_[static_cast<std::size_t>(sequence)];
    if (seen.split == split || seen.shared) return;
    if (!options_.allow_shared_sequences) {
      fail(fmt::format(
          "this sequence stands in split {} and, in line {}, in split {}: the test would see training data. "
          "Remove one, or set task.allow_shared_sequences=true if the data set is official",
          name_of(split), seen.line, name_of(seen.split)));
    }
    seen.shared = true;
    ++task_.shared_sequences;
  }

  std::vector<std::uint8_t> tokens_of(std::string_view letters) {
    if (letters.ends_with('*')) letters.remove_suffix(1);
    std::vector<std::uint8_t> tokens;
    tokens.reserve(letters.size());
    for (std::size_t i = 0; i < letters.size(); ++i) {
      const auto token = residue_token(letters[i]);
      if (!token) {
        const auto byte = static_cast<unsigned char>(letters[i]);
        fail(fmt::format("byte 0x{:02x}{} at residue {} of the sequence is no residue (upper-case letters only)", byte,
                         byte > 32 && byte < 127 ? fmt::format(" `{}`", letters[i]) : "", i + 1));
      }
      task_.odd_residues += is_standard_residue(*token) ? 0 : 1;
      tokens.push_back(*token);
    }
    if (tokens.empty()) fail("the sequence is empty");
    return tokens;
  }

  void finish() {
    if (line_ == 0) throw DataError(fmt::format("{}: the file is empty", name_));
    for (const auto split : {TaskSplit::train, TaskSplit::valid, TaskSplit::test}) {
      if (task_.rows_of(split).empty()) {
        throw DataError(
            fmt::format("{}: no row of split {}: a probe needs train, valid and test", name_, name_of(split)));
      }
    }
    if (task_.kind == TaskKind::binary) task_.classes = 2;
    if (task_.kind == TaskKind::classes) {
      const auto largest = std::max_element(task_.rows.begin(), task_.rows.end(),
                                            [](const auto& a, const auto& b) { return a.label < b.label; });
      task_.classes = options_.classes > 0 ? options_.classes : static_cast<std::int64_t>(largest->label) + 1;
      if (task_.classes < 2) throw DataError(fmt::format("{}: one class only: nothing to tell apart", name_));
    }
  }

  struct FirstUse {
    TaskSplit split;
    std::int64_t line;
    bool shared;
  };
  std::string name_;
  TaskOptions options_;
  Task task_;
  std::int64_t line_ = 0;
  std::unordered_map<std::string, std::int64_t> line_of_id_, number_of_sequence_;
  std::vector<FirstUse> seen_in_;
};

}  // namespace

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

Task read_task(const std::filesystem::path& path, const TaskOptions& options) {
  InputFile file(path.string());
  if (path.extension() == ".gz" && file.encoding() != Encoding::gzip)
    throw DataError(fmt::format("{}: named .gz but not gzip data. Rename it or compress it.", path.string()));
  const std::string text = read_whole_text(file);
  Task task = TaskParser(path.string(), options).parse(text);
  ChecksumStream checksum;
  checksum.add(std::as_bytes(std::span(text.data(), text.size())));
  const auto facts = fmt::format("{} {} {}", name_of(task.kind), task.classes, options.allow_shared_sequences);
  checksum.add(std::as_bytes(std::span(facts.data(), facts.size())));
  task.fingerprint = checksum_hex(checksum.value());
  return task;
}

}  // namespace lsd::data
