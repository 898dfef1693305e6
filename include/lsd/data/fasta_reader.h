// SPDX-License-Identifier: Apache-2.0
#pragma once
// FASTA records of one file, tokenised: plain text, gzip (any number of members), zstd (any number of frames) or
// standard input ("-"), told apart by their first bytes.
//
// Line ends may be LF, CR LF or CR; the last may be missing; a byte order mark and empty lines are passed over and
// counted. What cannot be used throws DataError with file, record, line and advice: text before the first header,
// FASTQ, a header without an id, a damaged or cut-off compressed file.

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "lsd/data/tokenizer.h"

namespace lsd::data {

// A part of a plain file: the records whose '>' lies in [begin, end). Parts that cover a file yield each record once.
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = std::numeric_limits<std::uint64_t>::max();
};

struct FastaRecord {
  std::string_view id;      // into header
  std::string header;       // without '>'
  std::int64_t number = 0;  // within the file part, from 1
  std::int64_t line = 0;    // of the header, within the file part, from 1
  SequenceBuilder sequence;
};

struct FastaCounts {
  std::int64_t byte_order_marks = 0;
  std::int64_t empty_lines = 0;
  std::int64_t carriage_returns = 0;  // line ends with a CR
  std::int64_t missing_final_line_end = 0;
  std::int64_t non_ascii_headers = 0;
};

class FastaReader {
 public:
  explicit FastaReader(const std::string& path, ByteRange range = {});
  ~FastaReader();
  FastaReader(FastaReader&&) noexcept;
  FastaReader& operator=(FastaReader&&) noexcept;

  // The next record, in the storage of the last one. False at the end. A part of a file may hold no record; a whole
  // file without any throws DataError.
  bool next(FastaRecord& record);

  FastaCounts counts() const;
  std::string_view encoding() const;  // "plain", "gzip" or "zstd"
  std::uint64_t bytes_read() const;   // as they lie on disk
  std::uint64_t text_bytes() const;   // decompressed
  // "proteins.fasta, record 12 ('P12345'), line 96": counted from the start of the file even where this reads a part.
  // A line of 0 stands for the header's line.
  std::string place(const FastaRecord& record, std::int64_t line = 0) const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

// What is known of a file before it is read.
struct FastaFileInfo {
  std::string_view encoding;  // "plain", "gzip", "zstd", or "stream": shows when it is read
  std::uint64_t bytes = 0;    // 0 for standard input and pipes
  bool splittable = false;    // into byte ranges

  bool is_stream() const { return bytes == 0; }  // an empty file is refused
};
// Throws DataError when the file is missing, a folder, empty or of a foreign kind. Does not touch standard input.
FastaFileInfo inspect_fasta(const std::string& path);

}  // namespace lsd::data
