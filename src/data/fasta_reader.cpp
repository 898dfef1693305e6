// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/fasta_reader.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "lsd/core/error.h"
#include "lsd/data/fasta_header.h"
#include "shown_text_internal.h"
#include "text_cursor_internal.h"

namespace lsd::data {
namespace {

constexpr std::size_t kMaxHeaderBytes = 1 << 20;
constexpr std::size_t kTarBlock = 512, kTarMagicAt = 257;  // of an archive's first header, which holds no line end

// Eight bytes at a time: headers are a third of many files.
bool is_ascii(std::string_view text) {
  std::uint64_t seen = 0;
  while (text.size() >= sizeof(seen)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), sizeof(word));
    seen |= word;
    text.remove_prefix(sizeof(word));
  }
  for (const char byte : text) seen |= static_cast<unsigned char>(byte);
  return (seen & 0x8080808080808080U) == 0;
}

}  // namespace

class FastaReader::State {
 public:
  State(const std::string& path, ByteRange range)
      : file(path, range.begin > 0 ? range.begin - 1 : 0),
        range_(range),
        cursor_(open_blocks(file), range.begin > 0 ? range.begin - 1 : 0) {
    if (range.begin > 0) {
      find_first_header_of_part();
    } else {
      pass_preamble();
    }
  }

  bool next(FastaRecord& record) {
    bool begun = false;
    try {
      if (!cursor_.available() || cursor_.offset() >= range_.end) return finish();
      begun = true;
      record.number = ++records;
      record.line = cursor_.line();
      record.id = {};
      cursor_.skip(1);
      read_header(record);
      read_sequence(record);
      return true;
    } catch (Error& error) {
      if (records == 0) throw;  // there is no record whose place would help
      count_what_lies_ahead();
      const auto number = records + records_ahead_;
      error.add_context(begun ? fmt::format("while reading record {} of {}, whose header is in line {}", number,
                                            file.name(), record.line + lines_ahead_)
                              : fmt::format("while reading {} behind its record {}", file.name(), number));
      throw;
    }
  }

  std::string place(const FastaRecord& record, std::int64_t line) {
    count_what_lies_ahead();
    return fmt::format("{}, record {} ('{}'), line {}", file.name(), record.number + records_ahead_, excerpt(record.id),
                       (line > 0 ? line : record.line) + lines_ahead_);
  }

  FastaCounts full_counts() const {
    auto all = counts;
    all.carriage_returns = cursor_.carriage_returns() - skipped_carriage_returns_;
    return all;
  }
  std::uint64_t text_bytes() const { return cursor_.offset() - (range_.begin > 0 ? range_.begin - 1 : 0); }

  InputFile file;
  FastaCounts counts;
  std::int64_t records = 0;

 private:
  // The part starts one byte early, so that a '>' at its very beginning is seen to follow a line end.
  void find_first_header_of_part() {
    while (cursor_.take_line([](std::string_view) {})) {
      if (!cursor_.available() || cursor_.peek() == '>') break;
    }
    first_offset_ = cursor_.offset();
    first_line_ = cursor_.line();
    skipped_carriage_returns_ = cursor_.carriage_returns();
  }

  void pass_preamble() {
    if (file.empty())
      throw DataError(
          fmt::format("{} is empty: it holds no record; leave it out, or put the sequences there", file.name()));
    pass_byte_order_mark();
    std::string line;
    while (cursor_.available() && cursor_.peek() != '>') {
      const auto number = cursor_.line();
      line.clear();
      cursor_.take_line([&](std::string_view piece) { line += piece.substr(0, kTarBlock - line.size()); });
      if (line.find_first_not_of(" \t") != std::string::npos) throw not_fasta(line, number);
      ++counts.empty_lines;
    }
  }

  void pass_byte_order_mark() {
    constexpr std::string_view mark = "\xEF\xBB\xBF";
    std::string head;
    while (head.size() < mark.size() && cursor_.available() && cursor_.peek() == mark[head.size()]) {
      head += cursor_.peek();
      cursor_.skip(1);
    }
    if (head == mark) {
      ++counts.byte_order_marks;
    } else if (!head.empty()) {
      throw not_fasta(head, 1);
    }
  }

  DataError not_fasta(std::string_view line, std::int64_t number) const {
    if (line.substr(std::min(line.size(), kTarMagicAt)).starts_with("ustar")) {
      return DataError(fmt::format("{} is a tar archive: unpack it (tar -xf) and hand in the FASTA files that it holds",
                                   file.name()));
    }
    const auto start = line.find_first_not_of(" \t");
    if (line[start] == '@') {
      return DataError(
          fmt::format("{}, line {}: starts with '@' ('{}'): this looks like FASTQ; convert it to protein FASTA",
                      file.name(), number, excerpt(line)));
    }
    return DataError(
        fmt::format("{}, line {}: text before the first header: '{}'; a FASTA record starts with a line '>id ...'",
                    file.name(), number, excerpt(line)));
  }

  void read_header(FastaRecord& record) {
    record.header.clear();
    const bool ended = cursor_.take_line([&](std::string_view piece) {
      record.header += piece;
      if (record.header.size() > kMaxHeaderBytes)
        throw DataError(fmt::format("{}: the header is longer than 1 MiB: this is no FASTA file", place(record, 0)));
    });
    ends_with_line_end_ = ended;
    record.id = id_of_header(record.header);
    if (record.id.empty())
      throw DataError(fmt::format("{}: the header has no id; write one behind '>'", place(record, 0)));
    if (has_control_byte(record.id)) {
      throw DataError(
          fmt::format("{}: the id holds a control character (NUL or the like); remove it or look whether the file "
                      "is text at all",
                      place(record, 0)));
    }
    // Behind the id anything goes that is text: NCBI's own files hold control-A there.
    if (record.header.find('\0') != std::string::npos) {
      throw DataError(fmt::format("{}: the header holds a NUL byte: remove it or look whether the file is text at all",
                                  place(record, 0)));
    }
    counts.non_ascii_headers += is_ascii(record.header) ? 0 : 1;
  }

  void read_sequence(FastaRecord& record) {
    record.sequence.clear();
    while (cursor_.available() && cursor_.peek() != '>') {
      const auto line = cursor_.line();
      bool empty = true;
      ends_with_line_end_ = cursor_.take_line([&](std::string_view piece) {
        empty = empty && piece.empty();
        record.sequence.append(piece, line);
      });
      counts.empty_lines += empty ? 1 : 0;
    }
    record.sequence.finish();
  }

  bool finish() {
    if (!cursor_.available() && records > 0 && !ends_with_line_end_) counts.missing_final_line_end = 1;
    const bool whole_file = range_.begin == 0 && !cursor_.available();
    if (records == 0 && whole_file)
      throw DataError(fmt::format("{} holds no record: it has no line that starts with '>'", file.name()));
    return false;
  }

  // Lines and records ahead of this part, counted only when a message needs them.
  void count_what_lies_ahead() {
    if (range_.begin == 0 || counted_ahead_) return;
    counted_ahead_ = true;
    InputFile again(file.name());
    TextCursor cursor(open_blocks(again), 0);
    while (cursor.available() && cursor.offset() < first_offset_) {
      records_ahead_ += cursor.peek() == '>' ? 1 : 0;
      cursor.take_line([](std::string_view) {});
    }
    lines_ahead_ = cursor.line() - first_line_;
  }

  ByteRange range_;
  TextCursor cursor_;
  bool ends_with_line_end_ = true;
  std::uint64_t first_offset_ = 0;  // of the part's first header, and its line as counted from the part's start
  std::int64_t first_line_ = 1;
  std::int64_t skipped_carriage_returns_ = 0;  // of lines that belong to the part before
  bool counted_ahead_ = false;
  std::int64_t records_ahead_ = 0, lines_ahead_ = 0;
};

FastaReader::FastaReader(const std::string& path, ByteRange range) : state_(std::make_unique<State>(path, range)) {}
FastaReader::~FastaReader() = default;
FastaReader::FastaReader(FastaReader&&) noexcept = default;
FastaReader& FastaReader::operator=(FastaReader&&) noexcept = default;

bool FastaReader::next(FastaRecord& record) {
  return state_->next(record);
}
FastaCounts FastaReader::counts() const {
  return state_->full_counts();
}
std::string_view FastaReader::encoding() const {
  return encoding_name(state_->file.encoding());
}
std::uint64_t FastaReader::bytes_read() const {
  return state_->file.bytes_read();
}
std::uint64_t FastaReader::text_bytes() const {
  return state_->text_bytes();
}
std::string FastaReader::place(const FastaRecord& record, std::int64_t line) const {
  return state_->place(record, line);
}

FastaFileInfo inspect_fasta(const std::string& path) {
  if (path == "-") return {.encoding = "stream"};
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
    return {.encoding = "stream"};  // a pipe: looking at it would use it up
  const InputFile file(path);
  if (file.empty())
    throw DataError(fmt::format("{} is empty: it holds no record; leave it out, or put the sequences there", path));
  return {.encoding = encoding_name(file.encoding()),
          .bytes = static_cast<std::uint64_t>(status.st_size),
          .splittable = file.splittable()};
}

}  // namespace lsd::data
