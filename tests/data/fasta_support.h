// SPDX-License-Identifier: Apache-2.0
#pragma once
// Small FASTA files of every kind, and their records as plain text.

#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lsd/data/alphabet.h"
#include "lsd/data/fasta_reader.h"

namespace lsd::testing {

inline std::string write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path.string();
}

// One gzip member, made by zlib: not by the library under test.
inline std::string gzip_member(std::string_view text, int level = 6) {
  z_stream stream{};
  deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string letters_of(std::span<const std::uint8_t> tokens) {
  std::string letters;
  for (const auto token : tokens) letters += data::kTokens[token];
  return letters;
}

using Records = std::vector<std::pair<std::string, std::string>>;  // id, letters

inline Records read_all(const std::string& path, data::ByteRange range = {}, data::FastaCounts* counts = nullptr) {
  data::FastaReader reader(path, range);
  data::FastaRecord record;
  Records records;
  while (reader.next(record)) records.emplace_back(std::string(record.id), letters_of(record.sequence.tokens()));
  if (counts != nullptr) *counts = reader.counts();
  return records;
}

}  // namespace lsd::testing
