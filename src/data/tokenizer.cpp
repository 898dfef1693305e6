// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/tokenizer.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"

namespace lsd::data {
namespace {

constexpr std::uint8_t kOdd = 0x80;  // set in a table entry: not an upper-case residue

// Token of every letter by its low five bits (A = 1 ... Z = 26); kOdd where no token stands for it.
constexpr std::array<std::uint8_t, 32> make_letter_table() {
  std::array<std::uint8_t, 32> table{};
  table.fill(kOdd);
  for (std::size_t id = kFirstAminoAcid; id < kTokens.size(); ++id) {
    if (kTokens[id].size() != 1) continue;
    const char letter = kTokens[id][0];
    if (letter >= 'A' && letter <= 'Z') table[static_cast<std::size_t>(letter & 0x1F)] = static_cast<std::uint8_t>(id);
  }
  return table;
}

constexpr auto kLetters = make_letter_table();
static_assert(kLetters['A' & 0x1F] == 5 && kLetters['X' & 0x1F] == kUnknownResidue && kLetters['J' & 0x1F] == kOdd);

constexpr std::array<std::uint8_t, 256> make_byte_table() {
  std::array<std::uint8_t, 256> table{};
  table.fill(kOdd);
  for (unsigned letter = 'A'; letter <= 'Z'; ++letter) table[letter] = kLetters[letter & 0x1FU];
  return table;
}

constexpr auto kBytes = make_byte_table();

#if defined(__x86_64__)

__attribute__((target("avx2"))) const char* find_line_end_avx2(const char* begin, const char* end) {
  const __m256i feed = _mm256_set1_epi8('\n');
  const __m256i carriage = _mm256_set1_epi8('\r');
  for (; end - begin >= 32; begin += 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(begin));
    const __m256i hits = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, feed), _mm256_cmpeq_epi8(bytes, carriage));
    const auto mask = static_cast<unsigned>(_mm256_movemask_epi8(hits));
    if (mask != 0) return begin + __builtin_ctz(mask);
  }
  while (begin != end && *begin != '\n' && *begin != '\r') ++begin;
  return begin;
}

// 32 tokens: two 16-entry look-ups by the low nibble, chosen by bit 4; bytes outside 'A'..'Z' get kOdd.
__attribute__((target("avx2"))) inline __m256i look_up(__m256i bytes, __m256i low_half, __m256i high_half) {
  const __m256i from_a = _mm256_sub_epi8(bytes, _mm256_set1_epi8('A'));
  const __m256i beyond_z = _mm256_cmpeq_epi8(_mm256_max_epu8(from_a, _mm256_set1_epi8(26)), from_a);
  const __m256i nibble = _mm256_and_si256(bytes, _mm256_set1_epi8(0x0F));
  const __m256i in_high = _mm256_slli_epi16(bytes, 3);  // bit 4 becomes the sign bit that blendv reads
  const __m256i token =
      _mm256_blendv_epi8(_mm256_shuffle_epi8(low_half, nibble), _mm256_shuffle_epi8(high_half, nibble), in_high);
  return _mm256_or_si256(token, beyond_z);
}

__attribute__((target("avx2"))) bool tokenize_avx2(std::string_view line, std::uint8_t* tokens) {
  if (line.size() < 32) return tokenize_plain_line_portable(line, tokens);
  const auto* table = reinterpret_cast<const __m128i*>(kLetters.data());
  const __m256i low_half = _mm256_broadcastsi128_si256(_mm_loadu_si128(table));
  const __m256i high_half = _mm256_broadcastsi128_si256(_mm_loadu_si128(table + 1));
  const auto convert = [&](std::size_t at) __attribute__((target("avx2"))) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line.data() + at));
    const __m256i token = look_up(bytes, low_half, high_half);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(tokens + at), token);
    return token;
  };
  __m256i seen = _mm256_setzero_si256();
  for (std::size_t at = 0; at + 32 <= line.size(); at += 32) seen = _mm256_or_si256(seen, convert(at));
  seen = _mm256_or_si256(seen, convert(line.size() - 32));  // the tail, overlapping what is done already
  return _mm256_movemask_epi8(seen) == 0;
}

#endif

const char* find_line_end_portable(const char* begin, const char* end) {
  while (begin != end && *begin != '\n' && *begin != '\r') ++begin;
  return begin;
}

struct LineFunctions {
  const char* (*find_line_end)(const char*, const char*) = find_line_end_portable;
  bool (*tokenize)(std::string_view, std::uint8_t*) = tokenize_plain_line_portable;
};

LineFunctions choose_functions() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return {find_line_end_avx2, tokenize_avx2};
#endif
  return {};
}

const LineFunctions kFunctions = choose_functions();

}  // namespace

const char* find_line_end(const char* begin, const char* end) {
  return kFunctions.find_line_end(begin, end);
}

bool tokenize_plain_line(std::string_view line, std::uint8_t* tokens) {
  return kFunctions.tokenize(line, tokens);
}

bool tokenize_plain_line_portable(std::string_view line, std::uint8_t* tokens) {
  std::uint8_t seen = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    tokens[i] = kBytes[static_cast<unsigned char>(line[i])];
    seen |= tokens[i];
  }
  return (seen & kOdd) == 0;
}

int token_of_letter(char letter) {
  const bool is_letter = (letter >= 'A' && letter <= 'Z') || (letter >= 'a' && letter <= 'z');
  const auto token = kLetters[static_cast<unsigned char>(letter) & 0x1FU];
  return is_letter && token != kOdd ? token : -1;
}

void SequenceBuilder::clear() {
  size_ = 0;
  open_stops_ = 0;
  odd_ = {};
  first_gap_ = first_inner_stop_ = first_other_ = open_stop_ = {};
}

void SequenceBuilder::reserve(std::size_t size) {
  if (size <= capacity_) return;
  if (size > kMaxResidues)
    throw DataError(
        "the record has more than 134 million residues: this is no file of proteins; look at its line ends");
  capacity_ = std::max<std::size_t>(2 * size, 65536);
  auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity_);
  if (size_ > 0) std::memcpy(larger.get(), tokens_.get(), size_);
  tokens_ = std::move(larger);
}

void SequenceBuilder::append(std::string_view line, std::int64_t line_number) {
  reserve(size_ + line.size());
  if (open_stops_ == 0 && tokenize_plain_line(line, tokens_.get() + size_)) {
    size_ += line.size();
  } else {
    append_odd(line, line_number);
  }
}

void SequenceBuilder::append_odd(std::string_view line, std::int64_t line_number) {
  const auto remember = [line_number](OddPlace& place, char byte) {
    if (place.line == 0) place = {line_number, static_cast<unsigned char>(byte)};
  };
  for (const char byte : line) {
    const bool lower = byte >= 'a' && byte <= 'z';
    const char letter = lower ? static_cast<char>(byte - 'a' + 'A') : byte;
    const auto token = kBytes[static_cast<unsigned char>(letter)];
    if (token != kOdd || letter == 'J') {
      if (open_stops_ > 0) {
        odd_.inner_stops += std::exchange(open_stops_, 0);
        if (first_inner_stop_.line == 0) first_inner_stop_ = open_stop_;
      }
      odd_.lower_case += lower ? 1 : 0;
      odd_.unknown += letter == 'J' ? 1 : 0;
      tokens_[size_++] = letter == 'J' ? kUnknownResidue : token;
    } else if (byte == '*') {
      if (open_stops_++ == 0) open_stop_ = {line_number, '*'};
    } else if (byte == '-' || byte == '.') {
      ++odd_.gaps;
      remember(first_gap_, byte);
    } else if (byte == ' ' || byte == '\t') {
      ++odd_.blanks;
    } else {
      ++odd_.other;
      remember(first_other_, byte);
    }
  }
}

void SequenceBuilder::finish() {
  odd_.final_stops += std::exchange(open_stops_, 0);
}

}  // namespace lsd::data
