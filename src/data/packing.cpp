// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/packing.h"

#include <algorithm>

#include <fmt/format.h>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"

namespace lsd::data {
namespace {

constexpr std::int64_t kOrderBlock = 4096;  // visits whose records are looked up at a time

std::int64_t special_rows(const PackingOptions& options) {
  return options.specials ? 2 : 0;
}

void check_options(const PackingOptions& options) {
  if (options.capacity < 1 || options.max_sequences < 1)
    throw UserError("a micro-batch needs a capacity of at least one row and one sequence");
  if (options.max_length != 0 && options.max_length <= special_rows(options))
    throw UserError(fmt::format("a maximum length of {} tokens leaves no room for residues beside {} specials",
                                options.max_length, special_rows(options)));
  if (options.max_length > options.capacity)
    throw UserError(
        fmt::format("sequences of up to {} tokens do not fit into micro-batches of {} rows; raise the capacity or "
                    "lower the maximum length",
                    options.max_length, options.capacity));
  if (!std::is_sorted(options.skipped_visits.begin(), options.skipped_visits.end()))
    throw InternalError("skipped visits are sorted");
}

void append(MicroBatchPlan& plan, const PlacedSequence& sequence) {
  plan.rows += sequence.rows;
  plan.residues += sequence.residues;
  plan.sequences.push_back(sequence);
}

}  // namespace

PlacedSequence place(const PackingOptions& options, std::int64_t visit, std::int64_t record, std::int32_t length) {
  const auto specials = special_rows(options);
  const auto most = options.max_length == 0 ? std::int64_t{length} : options.max_length - specials;
  const auto residues = static_cast<std::int32_t>(std::min<std::int64_t>(length, most));
  std::int32_t first = 0;
  if (residues < length) {
    const auto word = random_word(random_key(options.seed, RandomStream::crop), 0, static_cast<std::uint64_t>(visit));
    first = static_cast<std::int32_t>(bounded_from_word(word, static_cast<std::uint32_t>(length - residues) + 1));
  }
  return {visit, record, first, residues, residues + static_cast<std::int32_t>(specials)};
}

Packer::Packer(const SequenceSource& source, const SampleOrder& order, PackingOptions options, std::int64_t first_visit)
    : source_(source), order_(order), options_(std::move(options)), cursor_(first_visit) {
  check_options(options_);
  check(order.size() == source.size(), "the sample order runs over the source's records");
  if (source.size() == 0) throw DataError("there are no sequences to pack: the data set or split is empty");
  check(first_visit >= 0, "a cursor counts from 0");
  const auto& skipped = options_.skipped_visits;
  next_skipped_ = static_cast<std::size_t>(std::lower_bound(skipped.begin(), skipped.end(), cursor_) - skipped.begin());
}

bool Packer::at_end() const {
  return options_.end_visit >= 0 && cursor_ >= options_.end_visit;
}

bool Packer::skipped(std::int64_t visit) {
  const auto& list = options_.skipped_visits;
  while (next_skipped_ < list.size() && list[next_skipped_] < visit) ++next_skipped_;
  return next_skipped_ < list.size() && list[next_skipped_] == visit;
}

std::int64_t Packer::record_of(std::int64_t visit) {
  const auto in_cache = visit - records_begin_;
  if (in_cache >= 0 && in_cache < static_cast<std::int64_t>(records_.size()))
    return records_[static_cast<std::size_t>(in_cache)];
  const auto end = options_.end_visit >= 0 ? options_.end_visit : visit + kOrderBlock;
  records_.resize(static_cast<std::size_t>(std::min(kOrderBlock, end - visit)));
  records_begin_ = visit;
  order_.records_of(visit, records_);
  return records_.front();
}

MicroBatchPlan Packer::next() {
  MicroBatchPlan plan;
  plan.first_visit = cursor_;
  while (!at_end()) {
    if (skipped(cursor_)) {
      ++cursor_;
      continue;
    }
    const auto record = record_of(cursor_);
    const auto length = source_.length(record);
    if (length <= 0) throw DataError(fmt::format("record {} has no residues", record));
    const auto sequence = place(options_, cursor_, record, length);
    if (sequence.rows > options_.capacity)
      throw UserError(
          fmt::format("record {} has {} rows and a micro-batch holds {}; set a maximum length or raise the capacity",
                      record, sequence.rows, options_.capacity));
    if (plan.rows + sequence.rows > options_.capacity ||
        static_cast<std::int64_t>(plan.sequences.size()) == options_.max_sequences)
      break;
    append(plan, sequence);
    ++cursor_;
  }
  plan.end_visit = cursor_;
  return plan;
}

GlobalBatchPlan Packer::next_global(std::int64_t micro_batches) {
  GlobalBatchPlan global;
  global.first_visit = cursor_;
  for (std::int64_t k = 0; k < micro_batches; ++k) {
    auto plan = next();
    global.rows += plan.rows;
    global.residues += plan.residues;
    global.sequences += static_cast<std::int64_t>(plan.sequences.size());
    global.micro_batches.push_back(std::move(plan));
  }
  global.end_visit = cursor_;
  return global;
}

std::vector<std::int64_t> micro_batches_of_rank(std::int64_t micro_batches, int rank, int ranks) {
  check(rank >= 0 && rank < ranks, "a rank is one of the ranks");
  std::vector<std::int64_t> result;
  for (std::int64_t first = 0; first < micro_batches; first += ranks)
    result.push_back(first + rank < micro_batches ? first + rank : -1);
  return result;
}

std::vector<MicroBatchPlan> plan_in_order(const SequenceSource& source, std::int64_t begin, std::int64_t end,
                                          const PackingOptions& options) {
  auto uncropped = options;
  uncropped.max_length = 0;
  check_options(uncropped);
  check(begin >= 0 && begin <= end && end <= source.size(), "a range of records lies within the source");
  std::vector<MicroBatchPlan> plans;
  for (std::int64_t record = begin; record < end; ++record) {
    const auto sequence = place(uncropped, record, record, source.length(record));
    const bool fits = !plans.empty() && plans.back().rows + sequence.rows <= options.capacity &&
                      static_cast<std::int64_t>(plans.back().sequences.size()) < options.max_sequences;
    if (!fits) plans.push_back({.first_visit = record});
    append(plans.back(), sequence);
    plans.back().end_visit = record + 1;
  }
  return plans;
}

}  // namespace lsd::data
