// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which records of the input are used, and the account of all of them. Every record read is either kept or dropped for
// exactly one reason; `FastaTally::check_sums` holds that to be true.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lsd/data/fasta_reader.h"

namespace lsd::data {

enum class OnOdd { reject, drop_record, remove };
OnOdd parse_on_odd(std::string_view text);  // "reject", "drop_record" or "remove"

struct RecordPolicy {
  OnOdd gaps = OnOdd::reject;         // '-' and '.'
  OnOdd inner_stops = OnOdd::reject;  // '*' before a residue
  OnOdd other = OnOdd::reject;        // digits, NUL, punctuation, bytes beyond ASCII
  OnOdd empty = OnOdd::drop_record;   // records without a residue; not `remove`
  std::int64_t min_length = 1;
  std::int64_t max_length = 0;  // 0: no limit
  double max_unknown = 1.0;     // largest share of X
  bool name_options = true;     // whether a refusal may name the options of lsd_shard_uniref50
};

// Why a record is not used, in the order in which the reasons are looked at.
enum class Drop {
  none,
  gaps,
  inner_stops,
  other_bytes,
  empty,
  too_short,
  too_long,
  too_many_unknown,
  duplicate_id,
  duplicate_sequence,
};
inline constexpr int kDrops = 10;
std::string_view drop_name(Drop drop);
std::string_view deciding_option(Drop drop);  // of lsd_shard_uniref50: "residues.gaps"

// Judges one record. Throws DataError naming file, record, id, line, byte and what to change, where the policy says
// reject.
Drop judge_record(const FastaRecord& record, const RecordPolicy& policy, const FastaReader& reader);

// Sums over records; add those of parts, files and ranks.
struct FastaTally {
  struct Sum {
    std::int64_t records = 0, residues = 0;
  };
  Sum read;
  std::array<Sum, kDrops> by_fate{};  // [Drop::none] is what was kept
  OddResidues odd;                    // of all records read
  FastaCounts oddities;

  void add_record(const FastaRecord& record, Drop fate);
  // Moves a record that was kept so far to another fate.
  void change_fate(Drop to, std::int64_t residues);
  const Sum& kept() const { return by_fate[0]; }
  void check_sums() const;  // throws InternalError when the fates do not add up to what was read

  // All figures in a fixed order, for sums over ranks, and with their names for manifest and table.
  static constexpr std::size_t kFigures = 2 + 2 * kDrops + 7 + 5;
  std::array<std::int64_t, kFigures> figures() const;
  static FastaTally from_figures(std::span<const std::int64_t> figures);
  std::vector<std::pair<std::string, std::int64_t>> named() const;
};

}  // namespace lsd::data
