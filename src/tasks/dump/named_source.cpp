// SPDX-License-Identifier: Apache-2.0
#include "named_source_internal.h"

#include <fmt/format.h>

#include "lsd/core/error.h"
#include "lsd/data/fasta_reader.h"
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

NamedSource from_fasta(const std::string& path) {
  data::FastaReader reader(path);
  data::FastaRecord record;
  std::vector<std::vector<std::uint8_t>> sequences;
  std::vector<std::string> ids;
  while (reader.next(record)) {
    const auto& odd = record.sequence.odd();
    if (odd.inner_stops + odd.gaps + odd.other > 0) {
      throw DataError(fmt::format("{}: stops, gaps or other bytes that are no residues; clean the file first",
                                  reader.place(record)));
    }
    const auto tokens = record.sequence.tokens();
    if (tokens.empty()) throw DataError(fmt::format("{}: the record has no residues", reader.place(record)));
    sequences.emplace_back(tokens.begin(), tokens.end());
    ids.emplace_back(record.id);
  }
  return in_memory(std::move(sequences), std::move(ids));
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
