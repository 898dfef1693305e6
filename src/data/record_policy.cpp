// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/record_policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"

namespace lsd::data {
namespace {

constexpr std::array<std::string_view, kDrops> kDropNames = {"kept",
                                                             "dropped_gaps",
                                                             "dropped_inner_stops",
                                                             "dropped_other_bytes",
                                                             "dropped_empty",
                                                             "dropped_too_short",
                                                             "dropped_too_long",
                                                             "dropped_too_many_unknown",
                                                             "dropped_duplicate_id",
                                                             "dropped_duplicate_sequence"};

constexpr std::array<std::string_view, kDrops> kDecidingOptions = {
    "",           "residues.gaps", "residues.inner_stops", "residues.other",        "records.empty",
    "length.min", "length.max",    "residues.max_unknown", "records.duplicate_ids", "records.dedupe"};

std::string byte_text(unsigned char byte) {
  return byte > 0x20 && byte < 0x7F ? fmt::format("'{}'", static_cast<char>(byte))
                                    : fmt::format("the byte 0x{:02X}", byte);
}

std::string_view meaning(unsigned char byte) {
  if (byte == '*') return "a stop inside the sequence";
  if (byte == '-' || byte == '.') return "a gap, so this may be an alignment";
  if (byte >= '0' && byte <= '9') return "a digit";
  if (byte == 0) return "NUL, so this may be no text";
  if (byte == '+' || byte == '@') return "no residue; FASTQ has such lines";
  if (byte >= 0x80) return "beyond ASCII";
  return "no residue";
}

// ", or choose --residues.gaps=drop_record or remove"
std::string other_choice(const RecordPolicy& policy, Drop why) {
  if (!policy.name_options) return " or leave the record out";
  const bool removable = why == Drop::gaps || why == Drop::inner_stops;
  return fmt::format(", or choose --{}=drop_record{}", deciding_option(why), removable ? " or remove" : "");
}

class Judgement {
 public:
  Judgement(const FastaRecord& record, const RecordPolicy& policy, const FastaReader& reader)
      : record_(record), policy_(policy), reader_(reader) {}

  bool refused(const OddPlace& place, OnOdd choice, Drop why) const {
    if (place.line == 0 || choice == OnOdd::remove) return false;
    if (choice == OnOdd::drop_record) return true;
    throw DataError(fmt::format("{}: {} in the sequence ({}); mend the file{}", reader_.place(record_, place.line),
                                byte_text(place.byte), meaning(place.byte), other_choice(policy_, why)));
  }

 private:
  const FastaRecord& record_;
  const RecordPolicy& policy_;
  const FastaReader& reader_;
};

double share_of_unknown(std::span<const std::uint8_t> tokens) {
  const auto unknown = std::count(tokens.begin(), tokens.end(), kUnknownResidue);
  return static_cast<double>(unknown) / static_cast<double>(tokens.size());
}

}  // namespace

OnOdd parse_on_odd(std::string_view text) {
  if (text == "reject") return OnOdd::reject;
  if (text == "drop_record") return OnOdd::drop_record;
  if (text == "remove") return OnOdd::remove;
  throw UserError(fmt::format("'{}' is no policy: use reject, drop_record or remove", text));
}

std::string_view drop_name(Drop drop) {
  return kDropNames[static_cast<std::size_t>(drop)];
}

std::string_view deciding_option(Drop drop) {
  return kDecidingOptions[static_cast<std::size_t>(drop)];
}

Drop judge_record(const FastaRecord& record, const RecordPolicy& policy, const FastaReader& reader) {
  const auto& sequence = record.sequence;
  const Judgement judgement(record, policy, reader);
  if (judgement.refused(sequence.first_other(), policy.other, Drop::other_bytes)) return Drop::other_bytes;
  if (judgement.refused(sequence.first_gap(), policy.gaps, Drop::gaps)) return Drop::gaps;
  if (judgement.refused(sequence.first_inner_stop(), policy.inner_stops, Drop::inner_stops)) return Drop::inner_stops;
  const auto length = static_cast<std::int64_t>(sequence.tokens().size());
  if (length == 0 && policy.empty == OnOdd::reject) {
    throw DataError(fmt::format("{}: the record has no residue; mend the file{}", reader.place(record),
                                other_choice(policy, Drop::empty)));
  }
  if (length == 0) return Drop::empty;
  if (length < policy.min_length) return Drop::too_short;
  if (policy.max_length > 0 && length > policy.max_length) return Drop::too_long;
  if (policy.max_unknown < 1.0 && share_of_unknown(sequence.tokens()) > policy.max_unknown)
    return Drop::too_many_unknown;
  return Drop::none;
}

void FastaTally::add_record(const FastaRecord& record, Drop fate) {
  const auto residues = static_cast<std::int64_t>(record.sequence.tokens().size());
  for (Sum* sum : {&read, &by_fate[static_cast<std::size_t>(fate)]}) {
    ++sum->records;
    sum->residues += residues;
  }
  const auto& found = record.sequence.odd();
  odd.lower_case += found.lower_case;
  odd.unknown += found.unknown;
  odd.final_stops += found.final_stops;
  odd.inner_stops += found.inner_stops;
  odd.gaps += found.gaps;
  odd.blanks += found.blanks;
  odd.other += found.other;
}

void FastaTally::change_fate(Drop to, std::int64_t residues) {
  auto& target = by_fate[static_cast<std::size_t>(to)];
  --by_fate[0].records;
  by_fate[0].residues -= residues;
  ++target.records;
  target.residues += residues;
}

void FastaTally::check_sums() const {
  Sum sum;
  for (const auto& fate : by_fate) {
    sum.records += fate.records;
    sum.residues += fate.residues;
  }
  check(sum.records == read.records && sum.residues == read.residues,
        fmt::format("records kept and dropped add up to those read: {} + residues {}, read {} + {}", sum.records,
                    sum.residues, read.records, read.residues));
}

std::array<std::int64_t, FastaTally::kFigures> FastaTally::figures() const {
  std::array<std::int64_t, kFigures> out{};
  std::size_t at = 0;
  const auto put = [&](std::int64_t value) { out[at++] = value; };
  put(read.records), put(read.residues);
  for (const auto& fate : by_fate) put(fate.records), put(fate.residues);
  put(odd.lower_case), put(odd.unknown), put(odd.final_stops), put(odd.inner_stops), put(odd.gaps), put(odd.blanks);
  put(odd.other), put(oddities.byte_order_marks), put(oddities.empty_lines), put(oddities.carriage_returns);
  put(oddities.missing_final_line_end), put(oddities.non_ascii_headers);
  return out;
}

FastaTally FastaTally::from_figures(std::span<const std::int64_t> figures) {
  FastaTally tally;
  std::size_t at = 0;
  const auto take = [&](std::int64_t& value) { value = figures[at++]; };
  take(tally.read.records), take(tally.read.residues);
  for (auto& fate : tally.by_fate) take(fate.records), take(fate.residues);
  auto& odd = tally.odd;
  take(odd.lower_case), take(odd.unknown), take(odd.final_stops), take(odd.inner_stops), take(odd.gaps);
  take(odd.blanks), take(odd.other), take(tally.oddities.byte_order_marks), take(tally.oddities.empty_lines);
  take(tally.oddities.carriage_returns), take(tally.oddities.missing_final_line_end);
  take(tally.oddities.non_ascii_headers);
  return tally;
}

std::vector<std::pair<std::string, std::int64_t>> FastaTally::named() const {
  std::vector<std::pair<std::string, std::int64_t>> out = {{"read_records", read.records},
                                                           {"read_residues", read.residues}};
  for (std::size_t fate = 0; fate < by_fate.size(); ++fate) {
    out.emplace_back(std::string(kDropNames[fate]) + "_records", by_fate[fate].records);
    out.emplace_back(std::string(kDropNames[fate]) + "_residues", by_fate[fate].residues);
  }
  const auto values = figures();
  constexpr std::array<std::string_view, 12> names = {
      "lower_case_residues",    "letters_turned_into_X", "final_stops_dropped", "inner_stops", "gaps",
      "blanks_dropped",         "other_bytes",           "byte_order_marks",    "empty_lines", "carriage_returns",
      "missing_final_line_end", "non_ascii_headers"};
  for (std::size_t i = 0; i < names.size(); ++i) out.emplace_back(names[i], values[2 + 2 * kDrops + i]);
  return out;
}

}  // namespace lsd::data
