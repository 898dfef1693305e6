// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "../estimate/work_estimate_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/config.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/json_text.h"
#include "lsd/core/run_dir.h"
#include "lsd/data/shard_set.h"
#include "order_internal.h"

namespace lsd::tasks {
namespace {

using namespace sharding;

constexpr std::string_view kProgram = "lsd_shard_uniref50";
// What goes without a split, in the order of data::kSplits.
constexpr std::array<std::string_view, data::kSplits.size()> kMissOf = {
    "nothing can be trained on it", "a training cannot validate", "nothing is held back for a final test"};

bool reads_stream(const Job& job) {
  return std::ranges::any_of(job.files, &data::FastaFileInfo::is_stream);
}

// Name, size, and the first and last MiB: cheap for files of any size, and another release or a file that is still
// being downloaded shows.
std::string identity_of_file(const std::string& path, const data::FastaFileInfo& info) {
  constexpr std::uint64_t piece = 1 << 20;
  std::string identity = fmt::format("{} {}", file_name_of(path), info.bytes);
  if (info.is_stream()) return identity;
  std::ifstream file(path, std::ios::binary);
  std::string bytes(piece, '\0');
  for (const auto start : {std::uint64_t{0}, info.bytes - std::min(info.bytes, piece)}) {
    file.clear();
    file.seekg(static_cast<std::streamoff>(start));
    file.read(bytes.data(), static_cast<std::streamsize>(piece));
    identity +=
        " " + checksum_hex(checksum64(std::string_view(bytes).substr(0, static_cast<std::size_t>(file.gcount()))));
  }
  return identity;
}

std::string make_fingerprint(const ShardConfig& config, const std::vector<data::FastaFileInfo>& files) {
  std::string text = fmt::format("{} {} ", io::kShardFormat, io::kShardVersion) +
                     config_fingerprint(config, {""}, {"input", "output", "memory"});
  for (std::size_t i = 0; i < files.size(); ++i) text += "\n" + identity_of_file(config.input.files[i], files[i]);
  return checksum_hex(checksum64(text));
}

std::vector<data::FastaFileInfo> inspect_files(const std::vector<std::string>& paths) {
  if (paths.empty()) throw UserError("no input: name FASTA files with --input.files");
  if (std::count(paths.begin(), paths.end(), "-") > 1) throw UserError("standard input ('-') can be read once only");
  std::vector<data::FastaFileInfo> files;
  for (const auto& path : paths) files.push_back(data::inspect_fasta(path));
  return files;
}

// True when the folder holds this very set, finished and complete.
bool is_finished(const Job& job, const RunDir& folder) {
  if (folder.state() != RunState::done) return false;
  if (reads_stream(job)) {
    throw UserError(
        fmt::format("{} holds a finished shard set, and whether standard input holds the same data again cannot be "
                    "known: choose another folder",
                    folder.path().string()));
  }
  try {
    for (const auto split : data::kSplits) data::open_shard_split(folder.path(), split);
    return true;
  } catch (const DataError& error) {
    job.runtime.log.warn(fmt::format("the finished shard set is incomplete and is made again: {}", error.what()));
    return false;
  }
}

// The output folder, held by rank 0. Until the first shard is written a failure leaves no trace in a folder that was
// new, and FAILED in another, so that a command with a mended option may use it. While this start reads, no state
// stands there, so that no other run takes the folder over.
class OutputFolder {
 public:
  explicit OutputFolder(const Job& job) : job_(job), existed_(std::filesystem::exists(job.config.output.directory)) {
    auto& ranks = job.runtime.ranks;
    together(ranks, [&] {
      if (ranks.is_root()) open();
    });
    ranks.all_reduce_max({&finished_, 1});
  }
  ~OutputFolder() {
    if (!run_ || committed_ || finished_ != 0 || another_began()) return;
    if (!fresh_) {
      give_back();
      return;
    }
    std::error_code ignored;
    for (const auto* name : {"environment.json", "config.cfg"}) std::filesystem::remove(run_->path() / name, ignored);
    if (!existed_) std::filesystem::remove(run_->path(), ignored);
  }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  bool finished() const { return finished_ != 0; }  // this very set is there, complete
  // From here on only the newest job that came so far may write. A manifest is written last: without it the set counts
  // as unfinished. Reading may have taken hours: the folder must still be this run's.
  const io::Attempt& start_writing() {
    committed_ = true;
    auto& ranks = job_.runtime.ranks;
    const std::filesystem::path directory = job_.config.output.directory;
    together(ranks, [&] {
      if (!ranks.is_root()) return;
      claim_run_folder(directory, kProgram, job_.fingerprint);
      attempt_ = io::Attempt::begin(directory);
      attempt_->remove_older_partials(directory);
      run_->clear_state();
      run_->mend_metrics();
      std::filesystem::remove(directory / io::kManifestName);
    });
    const auto number = ranks.broadcast_text(attempt_ ? std::to_string(attempt_->number()) : "");
    attempt_ = io::Attempt::join(directory, std::stoll(number));
    job_.runtime.begin_heartbeat(attempt_->folder());
    job_.runtime.run_folder = directory;
    job_.runtime.owns_run_folder = [attempt = *attempt_] { return attempt.is_current(); };
    return *attempt_;
  }
  void commit(RunState state, const std::string& reason) {
    committed_ = true;
    if (!run_) return;
    check_current();
    if (another_began()) return;  // the state is that one's to tell
    run_->commit_state(state, reason);
  }
  // On rank 0, in the folder that start_writing has made this attempt's.
  void append_metrics(nlohmann::ordered_json line) {
    if (!run_) return;
    check_current();
    line["attempt"] = attempt_->number();
    line["ranks"] = job_.runtime.ranks.size();
    run_->append_metrics(json_text(line));
  }
  // Throws SystemError when another job has begun to write here.
  void check_current() const {
    if (attempt_) attempt_->check_current();
  }

 private:
  void open() {
    run_ = std::make_unique<RunDir>(job_.config.output.directory, kProgram, config_text(job_.config), job_.fingerprint,
                                    job_.runtime.ranks.size());
    fresh_ = run_->state() == RunState::fresh;
    finished_ = is_finished(job_, *run_) ? 1 : 0;
    newest_at_start_ = io::newest_attempt(run_->path()).number;
    if (finished_ == 0) run_->clear_state();
  }
  // Whether another start of this command has begun to write before this one did.
  bool another_began() const { return !attempt_ && io::newest_attempt(run_->path()).number != newest_at_start_; }
  void give_back() const noexcept {
    try {
      run_->commit_state(RunState::failed, "it ended before the first shard; nothing was written");
    } catch (const std::exception& error) {
      job_.runtime.log.warn(fmt::format("the folder's state could not be written: {}", error.what()));
    }
  }

  const Job& job_;
  std::unique_ptr<RunDir> run_;  // on rank 0
  std::optional<io::Attempt> attempt_;
  bool existed_ = false, fresh_ = false, committed_ = false;
  std::int64_t finished_ = 0, newest_at_start_ = 0;
};

void tell_estimate(const Job& job, double disk_bytes) {
  std::array<std::int64_t, 2> most = {static_cast<std::int64_t>(expected_memory(job)),
                                      static_cast<std::int64_t>(input_bytes(job))};
  job.runtime.ranks.all_reduce_max(std::span<std::int64_t>(most));
  job.runtime.log.info(WorkEstimate{.memory_bytes = static_cast<double>(most[0]),
                                    .memory_of = "what is kept of the input",
                                    .disk_bytes = disk_bytes,
                                    .work = static_cast<double>(most[1]),
                                    .unit = "bytes of input"}
                           .sizes());
}

// Limits are stated, and a disk that looks too small is told of before the long part. What is really needed depends on
// what the policies keep; it is known, and insisted on, before the first shard is written.
void announce(const Job& job) {
  double text = 0;
  for (const auto& file : job.files) text += static_cast<double>(file.bytes) * kept_share(file);
  const auto& log = job.runtime.log;
  const auto limit = human_bytes(static_cast<double>(job.memory_limit));
  if (reads_stream(job)) {
    log.info(
        fmt::format("{} input file(s), of which a stream tells its size at its end only; memory limit {} on rank 0",
                    job.files.size(), limit));
  } else {
    log.info(fmt::format("{} input file(s), up to about {} of shards; memory limit {} on rank 0", job.files.size(),
                         human_bytes(text), limit));
    tell_estimate(job, text);
  }
  const auto free = static_cast<double>(free_bytes_at(job.config.output.directory));
  if (job.runtime.ranks.is_root() && free < text) {
    log.warn(
        fmt::format("{} has {} free and the shards may take {}: if most records are kept, this will end with an error",
                    job.config.output.directory, human_bytes(free), human_bytes(text)));
  }
}

DataError nothing_left(const data::FastaTally& sum) {
  const auto most = std::max_element(sum.by_fate.begin() + 1, sum.by_fate.end(),
                                     [](const auto& a, const auto& b) { return a.records < b.records; });
  const auto why = static_cast<data::Drop>(most - sum.by_fate.begin());
  return DataError(fmt::format("no record is left of {} read: {} were {}; look at --{} and at the input\n{}",
                               sum.read.records, most->records, data::drop_name(why), data::deciding_option(why),
                               tally_table(sum)));
}

// A share that gives no record in a small set is easily overlooked, and the next stage would miss the split.
void warn_of_empty_splits(const Job& job, const Order& order) {
  const auto& split = job.config.split;
  const std::array<double, data::kSplits.size()> shares = {1 - split.valid - split.test, split.valid, split.test};
  const auto all = order.records[0] + order.records[1] + order.records[2];
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (!job.runtime.ranks.is_root() || order.records[i] > 0 || shares[i] < 1e-9) continue;
    job.runtime.log.warn(
        fmt::format("none of the {} records kept fell to the split '{}', whose share is {:.3g}: {}; the set goes on "
                    "without it. Hand in more records, or change --split.valid, --split.test or --split.seed",
                    all, data::kSplits[i], shares[i], kMissOf[i]));
  }
}

Outcome stop_early(const Job& job, OutputFolder& folder) {
  job.runtime.ranks.barrier();
  folder.commit(RunState::stopped, "asked to stop; the same command makes the set anew");
  job.runtime.log.info("stopped as asked; the same command makes the set anew");
  return Outcome::stopped;
}

// When this start was at what, on rank 0.
struct Times {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begun = Clock::now(), read, ordered, written;
};

double seconds_between(Times::Clock::time_point from, Times::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void tell_metrics(const data::FastaTally& sum, const io::ShardManifest& manifest, const Times& times,
                  OutputFolder& folder) {
  std::size_t shards = 0;
  for (const auto& split : manifest.splits) shards += split.shards.size();
  const auto line = [&](const char* kind, const data::FastaTally::Sum& of, double seconds) {
    return nlohmann::ordered_json{
        {"kind", kind}, {"records", of.records}, {"residues", of.residues}, {"seconds", seconds}};
  };
  folder.append_metrics(line("read", sum.read, seconds_between(times.begun, times.read)));
  folder.append_metrics(line("order", sum.kept(), seconds_between(times.read, times.ordered)));
  auto writing = line("write", sum.kept(), seconds_between(times.ordered, times.written));
  writing["shards"] = shards;
  folder.append_metrics(std::move(writing));
}

void finish(const Job& job, const ReadResult& result, std::vector<io::ManifestSplit> splits, OutputFolder& folder,
            const Times& times) {
  const auto seconds = seconds_between(times.begun, times.written);
  const auto manifest = make_manifest(job, result, std::move(splits));
  const auto sum = sum_of(result.tallies);
  together(job.runtime.ranks, [&] { folder.check_current(); });
  write_provenance(job, job.config.output.directory, seconds);
  together(job.runtime.ranks, [&] {
    if (!job.runtime.ranks.is_root()) return;
    tell_metrics(sum, manifest, times, folder);
    folder.check_current();
    io::write_manifest(job.config.output.directory, manifest);
    folder.commit(RunState::done, fmt::format("{} records kept", sum.kept().records));
  });
  job.runtime.log.info(tally_table(sum));
  job.runtime.log.info(split_table(manifest.splits));
  job.runtime.log.info(fmt::format("wrote {} in {}", job.config.output.directory, human_duration(seconds)));
}

}  // namespace

namespace sharding {

Job prepare(const ShardConfig& config, Runtime& runtime) {
  Job job{.config = config, .runtime = runtime};
  together(runtime.ranks, [&] {
    job.files = inspect_files(config.input.files);
    if (runtime.ranks.is_root()) job.fingerprint = make_fingerprint(config, job.files);
  });
  job.fingerprint = runtime.ranks.broadcast_text(job.fingerprint);
  job.parts = data::plan_input(job.files, runtime.ranks.size());
  job.memory_limit = choose_memory_limit(job);
  return job;
}

}  // namespace sharding

void ShardConfig::Length::validate() const {
  if (max != 0 && max < min) throw UserError(fmt::format("length.max = {} lies below length.min = {}", max, min));
}

void ShardConfig::Split::validate() const {
  if (valid + test > 1)
    throw UserError(fmt::format("split.valid = {} and split.test = {} are more than the whole", valid, test));
}

Outcome shard(const ShardConfig& config, Runtime& runtime) {
  Times times;
  const auto job = prepare(config, runtime);
  OutputFolder folder(job);
  if (folder.finished()) {
    runtime.log.info(fmt::format("{} holds this shard set already, finished: nothing to do", config.output.directory));
    return Outcome::done;
  }
  announce(job);
  auto result = read_input(job);
  if (result.stopped) return stop_early(job, folder);
  together(runtime.ranks, [] { fault_point("shard.input_read"); });
  times.read = Times::Clock::now();
  drop_duplicate_ids(job, result);
  drop_duplicate_sequences(job, result);
  together(runtime.ranks, [] { fault_point("shard.duplicates_dropped"); });
  add_tallies(job, result);
  const auto sum = sum_of(result.tallies);
  if (sum.kept().records == 0) throw nothing_left(sum);
  const auto order = order_records(job, result);
  check_room(job, result, order);
  warn_of_empty_splits(job, order);
  const auto& attempt = folder.start_writing();
  times.ordered = Times::Clock::now();
  auto splits = write_shards(job, attempt, order);
  if (!splits) return stop_early(job, folder);
  together(runtime.ranks, [] { fault_point("shard.all_committed"); });
  times.written = Times::Clock::now();
  finish(job, result, std::move(*splits), folder, times);
  return Outcome::done;
}

}  // namespace lsd::tasks
