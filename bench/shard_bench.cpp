// SPDX-License-Identifier: Apache-2.0
// Stage 1 end to end, against what the machine allows:
//   plain   FASTA file to finished shards, one rank, MB of FASTA a second (one core)
//   gzip    the same from one gzip member (two threads), against ISA-L inflating that file and nothing else
// and the parts of the way: reading, tokenising, writing. Files lie in the folder given, which decides what a write
// costs.
//
//   shard_bench [FASTA [FOLDER [ROUNDS]]]     FASTA: plain text; without it 200 MB of synthetic proteins
#include <fmt/format.h>
#include <isa-l/igzip_lib.h>
#include <sys/resource.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "lsd/core/error.h"
#include "lsd/data/fasta_reader.h"
#include "lsd/data/synthetic_fasta.h"
#include "lsd/tasks/shard.h"

namespace {

using namespace lsd;
using Clock = std::chrono::steady_clock;

struct Timing {
  double seconds = 0;      // by the clock
  double cpu_seconds = 0;  // of all threads
};

double cpu_now() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The median round by the clock.
template <class Body>
Timing median_of(int rounds, Body&& body) {
  std::vector<Timing> timings;
  for (int round = 0; round < rounds; ++round) {
    const auto start = Clock::now();
    const auto cpu_start = cpu_now();
    body();
    timings.push_back({std::chrono::duration<double>(Clock::now() - start).count(), cpu_now() - cpu_start});
  }
  std::sort(timings.begin(), timings.end(), [](const Timing& a, const Timing& b) { return a.seconds < b.seconds; });
  return timings[timings.size() / 2];
}

void report(std::string_view what, double bytes, const Timing& timing) {
  fmt::print("{:<44}{:>9.3f} s{:>9.0f} MB/s{:>9.0f} MB/s a core\n", what, timing.seconds, bytes / 1e6 / timing.seconds,
             bytes / 1e6 / timing.cpu_seconds);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_gzip(const std::string& text, const std::filesystem::path& path) {
  gzFile file = gzopen(path.c_str(), "wb6");
  for (std::size_t at = 0; at < text.size(); at += 1 << 20)
    gzwrite(file, text.data() + at, static_cast<unsigned>(std::min<std::size_t>(1 << 20, text.size() - at)));
  gzclose(file);
}

// ISA-L alone, 256 KiB at a time, output thrown away.
void inflate_only(const std::string& compressed) {
  const auto state = std::make_unique<inflate_state>();
  isal_inflate_init(state.get());
  state->crc_flag = ISAL_GZIP;
  state->next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(compressed.data()));
  state->avail_in = static_cast<std::uint32_t>(compressed.size());
  std::vector<std::uint8_t> out(256 << 10);
  while (state->block_state != ISAL_BLOCK_FINISH) {
    state->next_out = out.data();
    state->avail_out = static_cast<std::uint32_t>(out.size());
    if (isal_inflate(state.get()) != ISAL_DECOMP_OK) throw InternalError("the benchmark's own gzip file is damaged");
  }
}

void read_only(const std::string& path) {
  data::FastaReader reader(path);
  data::FastaRecord record;
  std::size_t residues = 0;
  while (reader.next(record)) residues += record.sequence.tokens().size();
  if (residues == 0) throw InternalError("the benchmark's file holds no residues");
}

void run_stage(const std::string& input, const std::filesystem::path& folder, bool check_ids) {
  std::filesystem::remove_all(folder);
  tasks::ShardConfig config;
  config.input.files = {input};
  config.output.directory = folder.string();
  config.records.duplicate_ids = check_ids ? "reject" : "keep";
  const auto ranks = dist::make_single_communicator();
  StopSignal stop;
  const Log log({.quiet = true});
  tasks::Runtime runtime{.ranks = *ranks, .stop = stop, .log = log};
  tasks::shard(config, runtime);
}

std::string make_synthetic(const std::filesystem::path& folder) {
  const data::SyntheticFasta proteins(1, 60);
  std::string text;
  for (std::uint64_t record = 0; text.size() < 200'000'000; ++record) proteins.append_record(record, text);
  const auto path = folder / "synthetic.fasta";
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

int run(const std::vector<std::string>& arguments) {
  const auto folder = arguments.size() > 1 ? std::filesystem::path(arguments[1])
                                           : std::filesystem::temp_directory_path() / "lsd_shard_bench";
  const int rounds = arguments.size() > 2 ? std::stoi(arguments[2]) : 5;
  std::filesystem::create_directories(folder);
  const auto fasta = arguments.empty() ? make_synthetic(folder) : arguments[0];
  const auto text = read_file(fasta);
  const auto bytes = static_cast<double>(text.size());
  const auto gzip = (folder / "input.fasta.gz").string();
  write_gzip(text, gzip);
  const auto compressed = read_file(gzip);
  fmt::print("{:.0f} MB of FASTA, gzip -6 {:.2f} of that; median of {} rounds; output in {}\n", bytes / 1e6,
             static_cast<double>(compressed.size()) / bytes, rounds, folder.string());

  report("plain: read and tokenise", bytes, median_of(rounds, [&] { read_only(fasta); }));
  report("plain: FASTA to shards, ids not compared", bytes,
         median_of(rounds, [&] { run_stage(fasta, folder / "out", false); }));
  const auto plain = median_of(rounds, [&] { run_stage(fasta, folder / "out", true); });
  report("plain: FASTA to shards", bytes, plain);
  const auto raw = median_of(rounds, [&] { inflate_only(compressed); });
  report("gzip: ISA-L inflate alone", bytes, raw);
  const auto read = median_of(rounds, [&] { read_only(gzip); });
  report("gzip: read and tokenise", bytes, read);
  const auto whole = median_of(rounds, [&] { run_stage(gzip, folder / "out", true); });
  report("gzip: FASTA to shards", bytes, whole);
  fmt::print(
      "plain end to end {:.0f} MB/s a core (goal 400); gzip: read {:.2f}, end to end {:.2f} of ISA-L's own rate (goal "
      "0.85)\n",
      bytes / 1e6 / plain.cpu_seconds, raw.seconds / read.seconds, raw.seconds / whole.seconds);
  std::filesystem::remove_all(folder / "out");
  std::filesystem::remove(gzip);
  if (arguments.empty()) std::filesystem::remove(fasta);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run({argv + 1, argv + argc});
}
