// SPDX-License-Identifier: Apache-2.0
// How fast batches are made: lengths packed per second, tokens per second of whole steps, from memory or from shards.
//
//   loader_bench [--shards FOLDER] [--split train] [--records 1000000] [--seconds 3] [--capacity 65536]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <string>
#include <thread>

#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"
#include "lsd/data/batch_loader.h"
#include "lsd/data/shard_set.h"

namespace {

using namespace lsd;
using Clock = std::chrono::steady_clock;

// Lengths like UniRef50's: log-normal, median 230; residues at random.
std::shared_ptr<const data::SequenceSource> uniref_like(std::int64_t records) {
  const auto key = random_key(1, RandomStream::validation);
  std::vector<std::vector<std::uint8_t>> sequences(static_cast<std::size_t>(records));
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto words = random_words(key, 0, i, 1);
    const double normal = std::sqrt(-2.0 * std::log(uniform_from_word(words.word[0]))) *
                          std::cos(6.2831853 * uniform_from_word(words.word[1]));
    sequences[i].resize(static_cast<std::size_t>(std::min(std::max(230.0 * std::exp(0.6 * normal), 20.0), 5000.0)));
    for (std::size_t j = 0; j < sequences[i].size(); ++j)
      sequences[i][j] = static_cast<std::uint8_t>(data::kFirstAminoAcid + (words.word[2] + 7 * j * j) % 20);
  }
  return data::make_memory_source(std::move(sequences));
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Of this thread: what else runs on the machine does not count.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void bench_packing(const data::SequenceSource& source, std::int64_t capacity, double seconds) {
  const data::SampleOrder order(source.size(), {.seed = 1});
  data::Packer packer(source, order, {.capacity = capacity, .seed = 1});
  const auto start = cpu_seconds();
  std::int64_t batches = 0;
  while (cpu_seconds() - start < seconds) {
    packer.next();
    ++batches;
  }
  const auto elapsed = cpu_seconds() - start;
  fmt::print("packing alone, per second of one core: {:.1f} M lengths, {:.0f} micro-batches\n",
             static_cast<double>(packer.cursor()) / elapsed / 1e6, static_cast<double>(batches) / elapsed);
}

void bench_loader(const std::shared_ptr<const data::SequenceSource>& source, std::int64_t capacity, double seconds,
                  bool masked, int ranks) {
  data::BatchLoaderOptions options;
  options.order = {.seed = 1};
  options.packing = {.capacity = capacity, .seed = 1};
  options.content = {
      .masking = masked ? std::optional(data::MaskingOptions{}) : std::nullopt, .token_dropout = masked, .seed = 1};
  options.micro_batches = std::max(16, ranks);
  options.ranks = ranks;
  data::BatchLoader loader(source, options);
  loader.next();
  const auto start = Clock::now();
  std::int64_t mine = 0, all = 0;
  while (seconds_since(start) < seconds) {
    auto step = loader.next();
    all += step->num_tokens;
    for (const auto& batch : step->micro_batches) mine += batch.num_tokens;
    loader.recycle(std::move(*step));
  }
  const auto elapsed = seconds_since(start);
  fmt::print("{}, rank 0 of {:3}: {:8.1f} M tokens/s of this rank, {:8.1f} M tokens/s packed in all\n",
             masked ? "MLM  " : "NM/TN", ranks, static_cast<double>(mine) / elapsed / 1e6,
             static_cast<double>(all) / elapsed / 1e6);
}

std::string option(int argc, char** argv, const std::string& name, std::string otherwise) {
  for (int i = 1; i + 1 < argc; i += 2)
    if (argv[i] == "--" + name) return argv[i + 1];
  return otherwise;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto shards = option(argc, argv, "shards", "");
  const auto seconds = std::stod(option(argc, argv, "seconds", "3"));
  const auto capacity = std::stoll(option(argc, argv, "capacity", "65536"));
  const std::shared_ptr<const data::SequenceSource> source =
      shards.empty() ? uniref_like(std::stoll(option(argc, argv, "records", "1000000")))
                     : std::shared_ptr<const data::SequenceSource>(
                           data::open_shard_split(shards, option(argc, argv, "split", "train")));
  fmt::print("{}: {} records, capacity {}, {} hardware threads, load per thread of the loader\n",
             shards.empty() ? "memory" : shards, source->size(), capacity, std::thread::hardware_concurrency());
  bench_packing(*source, capacity, seconds);
  for (const bool masked : {false, true})
    for (const int ranks : {1, 8, 128}) bench_loader(source, capacity, seconds, masked, ranks);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
