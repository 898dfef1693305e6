// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "lsd/core/host_memory.h"
#include "lsd/core/host_name.h"
#include "lsd/core/json_text.h"
#include "shard_internal.h"

namespace lsd::tasks::sharding {
namespace {

// What a rank passes on and receives while shards are put together: three of them, of records with headers of usual
// lengths. Small input makes no full shards; what a stream holds is not known.
double exchange_memory(const Job& job) {
  constexpr double kBytesOfARecord = 400.0;
  double input = 0.0;
  for (const auto& file : job.files)
    input +=
        file.is_stream() ? std::numeric_limits<double>::infinity() : kept_share(file) * static_cast<double>(file.bytes);
  return 3.0 * std::min(kBytesOfARecord * static_cast<double>(job.config.shards.records), input);
}

bool holds_a_whole_file(const Job& job) {
  return std::ranges::any_of(job.parts, [&](const data::InputPart& part) {
    return part.rank == job.runtime.ranks.rank() && !job.files[part.file].splittable;
  });
}

// What this rank may come to need: what it keeps twice (order and the search for duplicates need nearly as much again),
// and what shards pass through. A stream may need all that is available.
double expected_need(const Job& job, std::uint64_t available) {
  const bool reads_a_stream = std::ranges::any_of(job.parts, [&](const data::InputPart& part) {
    return part.rank == job.runtime.ranks.rank() && job.files[part.file].is_stream();
  });
  const double kept = reads_a_stream ? static_cast<double>(available) : static_cast<double>(expected_memory(job));
  return 2.0 * kept + exchange_memory(job);
}

}  // namespace

std::uint64_t part_of_memory(std::uint64_t available, double need, double need_on_machine, int ranks_on_machine) {
  constexpr double kEqually = 0.1;  // needs are estimates: nobody is left with nothing
  const double equal = 1.0 / ranks_on_machine;
  const double by_need = need_on_machine > 0.0 ? need / need_on_machine : equal;
  return static_cast<std::uint64_t>(0.8 * static_cast<double>(available) *
                                    (kEqually * equal + (1.0 - kEqually) * by_need));
}

std::uint64_t choose_memory_limit(const Job& job) {
  if (job.config.memory.limit > 0) return static_cast<std::uint64_t>(job.config.memory.limit * 0x1p30);
  const auto available = available_host_memory();
  const auto host = host_name();  // machines that share a name get too little each; --memory.limit helps
  const double need = expected_need(job, available);
  const auto told = json_text(nlohmann::json{{"host", host}, {"need", need}});
  double on_machine = 0.0;
  int ranks = 0;
  for (const auto& bytes : job.runtime.ranks.all_gather(std::as_bytes(std::span(told)))) {
    const auto rank = nlohmann::json::parse(reinterpret_cast<const char*>(bytes.data()),
                                            reinterpret_cast<const char*>(bytes.data()) + bytes.size());
    if (rank["host"] != host) continue;
    on_machine += rank["need"].get<double>();
    ++ranks;
  }
  return part_of_memory(available, need, on_machine, ranks);
}

void check_memory(const Job& job, std::uint64_t bytes, std::string_view what) {
  if (bytes <= job.memory_limit) return;
  throw UserError(fmt::format(
      "{} takes {} on a rank, more than the limit of {}: {}a stricter length filter, fewer records in a shard, or "
      "raise "
      "--memory.limit if the machine has the memory",
      what, human_bytes(static_cast<double>(bytes)), human_bytes(static_cast<double>(job.memory_limit)),
      holds_a_whole_file(job) ? "one rank holds all of a compressed file or stream, so hand in plain text, which all "
                                "ranks share, or several files, or use a machine with more memory, "
                              : "use more machines, "));
}

}  // namespace lsd::tasks::sharding
