// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/sharding.h"

#include <algorithm>
#include <numeric>

#include "lsd/core/checksum.h"
#include "lsd/core/philox.h"

namespace lsd::data {

int split_of_id(std::string_view id, std::uint32_t seed, const SplitShares& shares) {
  const auto word = random_word(random_key(seed, RandomStream::split), 0, checksum64(id));
  const double u = static_cast<double>(word) * 0x1.0p-32;
  if (u < shares.test) return 2;
  return u < shares.test + shares.valid ? 1 : 0;
}

std::uint64_t shuffle_key(std::uint64_t record_number, std::uint32_t seed) {
  const auto words = random_words(random_key(seed, RandomStream::shuffle), 0, record_number);
  return std::uint64_t{words.word[0]} << 32U | words.word[1];
}

std::int64_t shard_of_key(std::uint64_t key, std::int64_t shards) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::int64_t>(static_cast<Wide>(key) * static_cast<std::uint64_t>(shards) >> 64U);
}

std::vector<InputPart> plan_input(const std::vector<FastaFileInfo>& files, int ranks) {
  std::vector<InputPart> parts;
  std::vector<std::size_t> whole;
  std::uint64_t plain_bytes = 0;
  for (std::size_t file = 0; file < files.size(); ++file) {
    if (files[file].splittable) {
      plain_bytes += files[file].bytes;
    } else {
      whole.push_back(file);
    }
  }
  std::stable_sort(whole.begin(), whole.end(), [&](auto a, auto b) { return files[a].bytes > files[b].bytes; });
  std::vector<std::uint64_t> load(static_cast<std::size_t>(ranks), 0);
  for (const auto file : whole) {
    // Standard input belongs to rank 0, which the launcher connects it to.
    const auto rank = files[file].is_stream() ? 0 : std::min_element(load.begin(), load.end()) - load.begin();
    load[static_cast<std::size_t>(rank)] += files[file].bytes;
    parts.push_back({.file = file, .range = {}, .rank = static_cast<int>(rank)});
  }
  const std::uint64_t share = (plain_bytes + static_cast<std::uint64_t>(ranks) - 1) / static_cast<std::uint64_t>(ranks);
  std::uint64_t before = 0;  // plain bytes of earlier files
  for (std::size_t file = 0; file < files.size(); ++file) {
    if (!files[file].splittable) continue;
    for (std::uint64_t begin = 0; begin < files[file].bytes;) {
      const auto rank = (before + begin) / share;
      const auto end = std::min(files[file].bytes, (rank + 1) * share - before);
      const bool last = end == files[file].bytes;
      parts.push_back({.file = file, .range = {begin, last ? ByteRange{}.end : end}, .rank = static_cast<int>(rank)});
      begin = end;
    }
    before += files[file].bytes;
  }
  std::sort(parts.begin(), parts.end(), [](const InputPart& a, const InputPart& b) {
    return std::pair(a.file, a.range.begin) < std::pair(b.file, b.range.begin);
  });
  return parts;
}

}  // namespace lsd::data
