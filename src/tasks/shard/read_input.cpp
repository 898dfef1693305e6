// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "../estimate/work_estimate_internal.h"
#include "lsd/core/error.h"
#include "shard_internal.h"

namespace lsd::tasks::sharding {
namespace {

constexpr std::int64_t kRecordsBetweenChecks = 4096;  // of memory, stop signal and progress
constexpr double kSecondsForARate = 2.0;

data::RecordPolicy make_policy(const ShardConfig& config) {
  return {.gaps = data::parse_on_odd(config.residues.gaps),
          .inner_stops = data::parse_on_odd(config.residues.inner_stops),
          .other = data::parse_on_odd(config.residues.other),
          .empty = data::parse_on_odd(config.records.empty),
          .min_length = config.length.min,
          .max_length = config.length.max,
          .max_unknown = config.residues.max_unknown};
}

std::uint64_t bytes_of_part(const Job& job, const data::InputPart& part) {
  const auto& file = job.files[part.file];
  return std::min(part.range.end, file.bytes) - std::min(part.range.begin, file.bytes);
}

class PartReader {
 public:
  PartReader(const Job& job, ReadResult& result)
      : job_(job),
        result_(result),
        policy_(make_policy(job.config)),
        progress_(job.runtime.log, "reading", static_cast<std::int64_t>(input_bytes(job)), "bytes"),
        time_(job.runtime.log, reading_estimate(job), kSecondsForARate) {}

  // The number of records in the part.
  std::int64_t read(std::size_t index) {
    const auto& part = job_.parts[index];
    const WatchScope scope(*job_.runtime.watchdog, "reading", static_cast<std::int64_t>(index) + 1);
    data::FastaReader reader(job_.config.input.files[part.file], part.range);
    auto& tally = result_.tallies[part.file];
    std::int64_t records = 0;
    while (!result_.stopped && reader.next(record_)) {
      const auto fate = data::judge_record(record_, policy_, reader);
      tally.add_record(record_, fate);
      if (fate == data::Drop::none) keep(records);
      if (++records % kRecordsBetweenChecks == 0) look_around(reader);
    }
    add_oddities(tally.oddities, reader.counts());
    done_bytes_ += reader.bytes_read();
    check_memory(job_, memory(), "the input read so far");
    return records;
  }

 private:
  static WorkEstimate reading_estimate(const Job& job) {
    return {.work = static_cast<double>(input_bytes(job)),
            .unit = "bytes",
            .time_of = "reading (order, checks and writing come behind it)"};
  }

  static void add_oddities(data::FastaCounts& sum, const data::FastaCounts& part) {
    sum.byte_order_marks += part.byte_order_marks;
    sum.empty_lines += part.empty_lines;
    sum.carriage_returns += part.carriage_returns;
    sum.missing_final_line_end += part.missing_final_line_end;
    sum.non_ascii_headers += part.non_ascii_headers;
  }

  void keep(std::int64_t number_in_part) {
    const auto number = static_cast<std::uint64_t>(number_in_part);
    result_.records.push_back(result_.store.add(number, record_.id, record_.sequence.tokens()));
  }

  std::uint64_t memory() const { return result_.memory(); }

  void look_around(const data::FastaReader& reader) {
    check_memory(job_, memory(), "the input read so far");
    job_.runtime.watchdog->progress();
    const auto done = done_bytes_ + reader.bytes_read();
    progress_.update(static_cast<std::int64_t>(done));
    time_.update(static_cast<double>(done));
    result_.stopped = job_.runtime.stop.requested();
  }

  const Job& job_;
  ReadResult& result_;
  data::RecordPolicy policy_;
  Progress progress_;
  TimeTeller time_;
  data::FastaRecord record_;
  std::uint64_t done_bytes_ = 0;
};

// Parts in order hold the records in order: local numbers become global ones by adding what lies in earlier parts.
void number_globally(const Job& job, ReadResult& result, std::vector<std::int64_t> records_of_part,
                     const std::vector<std::size_t>& kept_of_part) {
  job.runtime.ranks.all_reduce_sum(std::span(records_of_part));
  result.part_starts = {0};
  for (const auto records : records_of_part) result.part_starts.push_back(result.part_starts.back() + records);
  auto record = result.records.begin();
  for (std::size_t part = 0; part < job.parts.size(); ++part) {
    const auto first = static_cast<std::uint64_t>(result.part_starts[part]);
    for (std::size_t i = 0; i < kept_of_part[part]; ++i, ++record)
      if (first > 0) data::RecordStore::set_number(*record, first + data::RecordStore::at(*record).number);
  }
  check(record == result.records.end(), "every stored record got its global number");
}

}  // namespace

std::uint64_t input_bytes(const Job& job) {
  std::uint64_t bytes = 0;
  for (const auto& part : job.parts) {
    if (part.rank != job.runtime.ranks.rank()) continue;
    if (job.files[part.file].is_stream()) return 0;
    bytes += bytes_of_part(job, part);
  }
  return bytes;
}

// Text shrinks to about 0.9 of its size in memory (no line ends, short headers, 40 bytes of book-keeping per record);
// compressed protein text is about half of the text.
double kept_share(const data::FastaFileInfo& file) {
  return file.splittable ? 0.9 : 1.8;
}

std::uint64_t expected_memory(const Job& job) {
  double bytes = 0;
  for (const auto& part : job.parts) {
    if (part.rank != job.runtime.ranks.rank()) continue;
    bytes += static_cast<double>(bytes_of_part(job, part)) * kept_share(job.files[part.file]);
  }
  return static_cast<std::uint64_t>(bytes);
}

ReadResult read_input(const Job& job) {
  ReadResult result;
  result.tallies.resize(job.files.size());
  std::vector<std::int64_t> records_of_part(job.parts.size(), 0);
  std::vector<std::size_t> kept_of_part(job.parts.size(), 0);
  auto& ranks = job.runtime.ranks;
  together(ranks, [&] {
    check_memory(job, expected_memory(job), "the input (estimated from its size)");
    PartReader reader(job, result);
    for (std::size_t part = 0; part < job.parts.size() && !result.stopped; ++part) {
      if (job.parts[part].rank != ranks.rank()) continue;
      const auto before = result.records.size();
      records_of_part[part] = reader.read(part);
      kept_of_part[part] = result.records.size() - before;
    }
  });
  std::int64_t stopped = result.stopped ? 1 : 0;
  ranks.all_reduce_max({&stopped, 1});
  result.stopped = stopped != 0;
  number_globally(job, result, std::move(records_of_part), kept_of_part);
  return result;
}

void add_tallies(const Job& job, ReadResult& result) {
  std::vector<std::int64_t> figures;
  for (const auto& tally : result.tallies) {
    const auto values = tally.figures();
    figures.insert(figures.end(), values.begin(), values.end());
  }
  job.runtime.ranks.all_reduce_sum(std::span(figures));
  for (std::size_t file = 0; file < result.tallies.size(); ++file) {
    constexpr auto width = data::FastaTally::kFigures;
    result.tallies[file] = data::FastaTally::from_figures(std::span(figures).subspan(file * width, width));
    result.tallies[file].check_sums();
  }
}

}  // namespace lsd::tasks::sharding
