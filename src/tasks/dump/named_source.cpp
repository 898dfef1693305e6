// SPDX-License-Identifier: Apache-2.0
#include "named_source_internal.h"

#include <fmt/format.h>

#include <unordered_map>

#include "lsd/core/error.h"
#include "lsd/data/record_policy.h"
#include "lsd/data/shard_set.h"
#include "lsd/data/task_reader.h"

namespace lsd::tasks {
namespace {

NamedSource in_memory(std::vector<std::vector<std::uint8_t>> sequences, std::vector<std::string> ids) {
  auto names = std::make_shared<const std::vector<std::string>>(std::move(ids));
  return {.sequences = data::make_memory_source(std::move(sequences)),
          .id = [names](std::int64_t record) { return (*names)[static_cast<std::size_t>(record)]; }};
}

NamedSource from_shards(const DumpInputConfig& input) {
  std::shared_ptr<const data::ShardSplit> split = data::open_shard_split(input.shards, input.split);
  return {.sequences = split, .id = [split](std::int64_t record) { return std::string(split->id(record)); }};
}

// "lower_case_residues 12, letters_turned_into_X 3", as docs/formats/shards.md names them.
std::string oddities_text(const data::FastaTally& tally) {
  std::string text;
  const auto named = tally.named();
  for (std::size_t i = 2 + 2 * data::kDrops; i < named.size(); ++i) {
    if (named[i].second == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", named[i].first, named[i].second);
  }
  return text;
}

NamedSource from_fasta(const std::string& path) {
  // Every record of the file gets its rows: what cannot be used stops the dump, and nothing is left out.
  const data::RecordPolicy policy{.empty = data::OnOdd::reject, .name_options = false};
  data::FastaReader reader(path);
  data::FastaRecord record;
  data::FastaTally tally;
  std::vector<std::vector<std::uint8_t>> sequences;
  std::vector<std::string> ids;
  std::unordered_map<std::string, std::int64_t> header_lines;
  while (reader.next(record)) {
    tally.add_record(record, data::judge_record(record, policy, reader));
    const auto [first, is_new] = header_lines.emplace(record.id, record.line);
    if (!is_new) {
      throw DataError(
          fmt::format("{}: the same id as in line {}; rows are found by their id, so ids must differ: mend "
                      "the file",
                      reader.place(record), first->second));
    }
    const auto tokens = record.sequence.tokens();
    sequences.emplace_back(tokens.begin(), tokens.end());
    ids.emplace_back(record.id);
  }
  tally.oddities = reader.counts();
  auto source = in_memory(std::move(sequences), std::move(ids));
  source.oddities = oddities_text(tally);
  return source;
}

NamedSource from_task(const std::string& path) {
  // Labels play no part here, so the most permissive kind that every table fits.
  auto task = data::read_task(path, {.kind = data::TaskKind::regression, .allow_shared_sequences = true});
  return in_memory(std::move(task.sequences), std::move(task.sequence_ids));
}

}  // namespace

void DumpInputConfig::validate() const {
  const int given = (shards.empty() ? 0 : 1) + (task.empty() ? 0 : 1) + (fasta.empty() ? 0 : 1);
  if (given != 1) throw UserError("give exactly one of input.shards, input.task and input.fasta");
}

NamedSource open_source(const DumpInputConfig& input) {
  if (!input.shards.empty()) return from_shards(input);
  return input.task.empty() ? from_fasta(input.fasta) : from_task(input.task);
}

}  // namespace lsd::tasks
