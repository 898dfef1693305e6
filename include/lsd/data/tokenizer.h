// SPDX-License-Identifier: Apache-2.0
#pragma once
// Letters to tokens (alphabet.h). Plain lines of upper-case residues go through a vectorised path; a line with anything
// else is looked at byte by byte, and what was odd is counted so that a policy can judge the whole record.
//
// The tokens of a record never hold anything but residues (ids 4 to 28): lower case is upper-cased, J becomes X; stops,
// gaps, blanks and all other bytes are left out. Whether a record with such bytes is used is not decided here.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace lsd::data {

struct OddResidues {
  std::int64_t lower_case = 0;   // soft masking: upper-cased
  std::int64_t unknown = 0;      // J: turned into X
  std::int64_t final_stops = 0;  // '*' behind the last residue: dropped
  std::int64_t inner_stops = 0;  // '*' before a residue
  std::int64_t gaps = 0;         // '-' and '.'
  std::int64_t blanks = 0;       // blanks and tabs: dropped
  std::int64_t other = 0;        // digits, NUL, punctuation, bytes beyond ASCII
};

// The first byte of a kind that a policy may refuse: 0 as the line means that there was none.
struct OddPlace {
  std::int64_t line = 0;
  unsigned char byte = 0;
};

// First '\n' or '\r' in [begin, end), or end.
const char* find_line_end(const char* begin, const char* end);
// Writes one token per byte. True when every byte was a residue in upper case; otherwise the tokens mean nothing.
bool tokenize_plain_line(std::string_view line, std::uint8_t* tokens);
// The same without vector instructions: what the other is tested against.
bool tokenize_plain_line_portable(std::string_view line, std::uint8_t* tokens);

// The token of a residue letter of either case, or -1.
int token_of_letter(char letter);

// The sequence of one record, line by line; reused from record to record so that nothing is allocated in the long run.
class SequenceBuilder {
 public:
  void clear();
  // A line without its end, or a piece of one. `line_number` serves messages only.
  void append(std::string_view line, std::int64_t line_number);
  void finish();  // after the last line: stops that are still open were final ones

  std::span<const std::uint8_t> tokens() const { return {tokens_.get(), size_}; }
  const OddResidues& odd() const { return odd_; }
  const OddPlace& first_gap() const { return first_gap_; }
  const OddPlace& first_inner_stop() const { return first_inner_stop_; }
  const OddPlace& first_other() const { return first_other_; }

  // Longer records are refused (DataError): they are no proteins but a file of another kind.
  static constexpr std::size_t kMaxResidues = std::size_t{1} << 27U;

 private:
  void reserve(std::size_t size);
  void append_odd(std::string_view line, std::int64_t line_number);

  std::unique_ptr<std::uint8_t[]> tokens_;
  std::size_t size_ = 0, capacity_ = 0;
  std::int64_t open_stops_ = 0;  // stops with no residue behind them so far
  OddResidues odd_;
  OddPlace first_gap_, first_inner_stop_, first_other_, open_stop_;
};

}  // namespace lsd::data
