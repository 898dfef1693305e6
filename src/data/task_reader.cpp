// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/task_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <unordered_map>

#include "byte_stream_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"
#include "lsd/data/tokenizer.h"
#include "shown_text_internal.h"

namespace lsd::data {
namespace {

constexpr std::string_view kSingleHeader = "id,sequence,label,split";
constexpr std::string_view kPairHeader = "id,sequence_a,sequence_b,label,split";
constexpr std::int64_t kMostClasses = 10000;

std::string quoted_byte(unsigned char byte) {
  return fmt::format("byte 0x{:02x}{}", byte,
                     byte > 32 && byte < 127 ? fmt::format(" `{}`", static_cast<char>(byte)) : "");
}

class TaskParser {
 public:
  TaskParser(std::string name, const TaskOptions& options) : name_(std::move(name)), options_(options) {
    task_.kind = options.kind;
  }

  Task parse(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    while (!text.empty()) {  // LF, CR LF and CR all end a line
      const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
      read_line(text.substr(0, end));
      text.remove_prefix(std::min(end + (text.substr(end).starts_with("\r\n") ? 2 : 1), text.size()));
    }
    finish();
    return std::move(task_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw DataError(fmt::format("{}:{}: {}{}", name_, line_,
                                row_.empty() ? "" : fmt::format("row `{}`: ", excerpt(row_, 60)), what));
  }

  // Blank lines at the end are no rows; one between rows may be a lost one.
  void read_line(std::string_view line) {
    ++line_;
    row_ = {};
    if (line.find_first_not_of(" \t") == std::string_view::npos) {
      if (blank_ == 0) blank_ = line_;
      return;
    }
    if (blank_ > 0) {
      line_ = blank_;
      fail("a blank line with rows behind it: remove it, or put back the row that stood there");
    }
    if (!header_seen_) return read_header(line);
    row_ = line.substr(0, line.find(','));
    read_row(line);
  }

  void read_header(std::string_view line) {
    if (line == kPairHeader) {
      task_.pairs = true;
    } else if (line != kSingleHeader) {
      fail(fmt::format("the header is `{}`; it must be `{}` or `{}`: rename or reorder the columns", line.substr(0, 80),
                       kSingleHeader, kPairHeader));
    }
    header_seen_ = true;
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
    if (fields.size() != wanted) {
      fail(fmt::format("{} columns where the header has {}: write every column, with no comma inside a field",
                       fields.size(), wanted));
    }
    return fields;
  }

  void read_row(std::string_view line) {
    const auto fields = split_fields(line);
    TaskRow row;
    row.id = std::string(fields[0]);
    if (row.id.empty()) fail("the id is missing: give the row one that no other row has");
    if (has_control_byte(row.id)) fail("the id holds a control character (NUL, a tab or the like): remove it");
    const auto [first, is_new] = line_of_id_.emplace(row.id, line_);
    if (!is_new) fail(fmt::format("its id was already used in line {}: rename or remove one", first->second));
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
    if (field.empty()) fail("the label is missing: write a number, or remove the row");
    double value = 0.0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error == std::errc::result_out_of_range)
      fail(fmt::format("label `{}` does not fit a number: scale the labels", field.substr(0, 40)));
    if (error != std::errc{} || end != field.data() + field.size()) {
      fail(fmt::format("label `{}` is not a number: write one (classes are numbered from 0), without blanks",
                       field.substr(0, 40)));
    }
    if (!std::isfinite(value)) fail(fmt::format("label `{}` is not a finite number: remove the row", field));
    if (task_.kind != TaskKind::regression) check_class(field, value);
    return value;
  }

  void check_class(std::string_view field, double value) const {
    const double limit = static_cast<double>(task_.kind == TaskKind::binary ? 2
                                             : options_.classes > 0         ? options_.classes
                                                                            : kMostClasses);
    if (value != std::floor(value) || value < 0 || value >= limit) {
      fail(
          fmt::format("label `{}` is no class: classes are integers from 0 to {}. Number them so{}, or choose "
                      "task.kind=regression",
                      field.substr(0, 40), limit - 1, options_.classes > 0 ? ", or raise task.classes" : ""));
    }
  }

  // Sequences are equal when their residues are: `MK*` is MK, J is X.
  std::int64_t add_sequence(std::string_view letters, const TaskRow& row, std::string id) {
    read_residues(letters);
    const auto tokens = residues_.tokens();
    const auto next = static_cast<std::int64_t>(task_.sequences.size());
    std::string key(reinterpret_cast<const char*>(tokens.data()), tokens.size());
    const auto [entry, is_new] = number_of_sequence_.emplace(std::move(key), next);
    if (!is_new) {
      note_second_use(entry->second, row.split);
      return entry->second;
    }
    task_.sequences.emplace_back(tokens.begin(), tokens.end());
    task_.sequence_ids.push_back(std::move(id));
    task_.odd_residues += std::count_if(tokens.begin(), tokens.end(), [](auto t) { return !is_standard_residue(t); });
    task_.lower_case_residues += residues_.odd().lower_case;
    seen_in_.push_back({row.split, line_, false});
    return next;
  }

  void note_second_use(std::int64_t sequence, TaskSplit split) {
    auto& seen = seen_in_[static_cast<std::size_t>(sequence)];
    if (seen.split == split || seen.shared) return;
    if (!options_.allow_shared_sequences) {
      fail(fmt::format(
          "this sequence (as residues: no `*` at its end, J as X) stands in split {} and, in line {}, in split {}: the "
          "test would see training data. "
          "Remove one, or set task.allow_shared_sequences=true if the data set is official",
          name_of(split), seen.line, name_of(seen.split)));
    }
    seen.shared = true;
    ++task_.shared_sequences;
  }

  // The default policy of lsd_shard_uniref50 (docs/formats/shards.md), byte for byte.
  void read_residues(std::string_view letters) {
    residues_.clear();
    residues_.append(letters, line_);
    residues_.finish();
    for (const auto* place : {&residues_.first_other(), &residues_.first_gap(), &residues_.first_inner_stop()}) {
      if (place->line == 0) continue;
      fail(fmt::format("{} at residue {} of the sequence is no residue{}: mend the sequence or remove the row",
                       quoted_byte(place->byte), letters.find(static_cast<char>(place->byte)) + 1,
                       place->byte == '*' ? " (a stop is taken at the end only)" : ""));
    }
    if (residues_.tokens().empty()) fail("the sequence is empty: write its residues, or remove the row");
  }

  void finish() {
    if (!header_seen_) {
      throw DataError(fmt::format("{}: the file is empty: it needs the header `{}` or `{}` and rows", name_,
                                  kSingleHeader, kPairHeader));
    }
    for (const auto split : {TaskSplit::train, TaskSplit::valid, TaskSplit::test}) {
      if (task_.rows_of(split).empty()) {
        throw DataError(fmt::format("{}: no row of split {}: a probe needs train, valid and test; move some rows to it",
                                    name_, name_of(split)));
      }
    }
    if (task_.kind == TaskKind::binary) task_.classes = 2;
    if (task_.kind == TaskKind::classes) task_.classes = options_.classes > 0 ? options_.classes : count_classes();
  }

  // The largest label plus one. Gaps say that the labels are no class numbers, unless the number was given.
  std::int64_t count_classes() const {
    std::set<std::int64_t> seen;
    for (const auto& row : task_.rows) seen.insert(static_cast<std::int64_t>(row.label));
    const auto classes = *seen.rbegin() + 1;
    if (static_cast<std::int64_t>(seen.size()) == classes) return classes;
    std::int64_t absent = 0;
    while (seen.contains(absent)) ++absent;
    throw DataError(
        fmt::format("{}: {} different labels from {} to {}, and no row of class {}: number the classes from 0 without "
                    "gaps, or set task.classes={} if rows are lacking on purpose",
                    name_, seen.size(), *seen.begin(), *seen.rbegin(), absent, classes));
  }

  struct FirstUse {
    TaskSplit split;
    std::int64_t line;
    bool shared;
  };
  std::string name_;
  TaskOptions options_;
  Task task_;
  std::int64_t line_ = 0, blank_ = 0;  // blank_: the first of the blank lines before line_, 0: none
  std::string_view row_;               // id of the line's row, for messages
  bool header_seen_ = false;
  SequenceBuilder residues_;
  std::unordered_map<std::string, std::int64_t> line_of_id_, number_of_sequence_;
  std::vector<FirstUse> seen_in_;
};

}  // namespace

Task read_task(const std::filesystem::path& path, const TaskOptions& options) {
  InputFile file(path.string());
  const std::string text = read_whole_text(file);
  Task task = TaskParser(path.string(), options).parse(text);
  task.file = path.string();
  ChecksumStream checksum;
  checksum.add(std::as_bytes(std::span(text.data(), text.size())));
  const auto facts = fmt::format("{} {} {}", name_of(task.kind), task.classes, options.allow_shared_sequences);
  checksum.add(std::as_bytes(std::span(facts.data(), facts.size())));
  task.fingerprint = checksum_hex(checksum.value());
  return task;
}

}  // namespace lsd::data
