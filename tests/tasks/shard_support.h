// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs stage 1 inside the test: small files in, folders out, any number of ranks as threads.

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "lsd/core/atomic_file.h"
#include "lsd/tasks/shard.h"

namespace lsd::testing {

inline void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Content of the files that must not depend on ranks or time: shards and manifest.
inline std::map<std::string, std::string> result_files(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name.ends_with(".h5") || name == "manifest.json") files[name] = read_text_file(entry.path());
  }
  return files;
}

struct HowToRun {
  bool stop_at_once = false;
  bool quiet = true;
};

inline tasks::Outcome run_shard(const tasks::ShardConfig& config, dist::HostCommunicator& ranks, HowToRun how = {}) {
  StopSignal stop;
  if (how.stop_at_once) stop.request();
  const Log log({.quiet = how.quiet, .root = ranks.is_root(), .rank = ranks.rank(), .ranks = ranks.size()});
  tasks::Runtime runtime{.ranks = ranks, .stop = stop, .log = log};
  return tasks::shard(config, runtime);
}

// Every rank must end alike: all well, or all with the same error, which is thrown again here.
inline tasks::Outcome run_shard_on_threads(const tasks::ShardConfig& config, int size, bool stop_at_once = false) {
  auto communicators = dist::make_thread_communicators(size);
  std::vector<std::exception_ptr> failures(communicators.size());
  std::vector<tasks::Outcome> outcomes(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < communicators.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        outcomes[rank] = run_shard(config, *communicators[rank], {.stop_at_once = stop_at_once});
      } catch (...) {
        failures[rank] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto failed =
      std::count_if(failures.begin(), failures.end(), [](const auto& failure) { return failure != nullptr; });
  if (failed != 0 && failed != size) throw std::logic_error("some ranks failed and others did not");
  if (failed != 0) std::rethrow_exception(failures[0]);
  return outcomes[0];
}

inline tasks::ShardConfig small_config(std::vector<std::string> files, const std::filesystem::path& folder) {
  tasks::ShardConfig config;
  config.input.files = std::move(files);
  config.output.directory = folder.string();
  config.length.min = 1;
  config.split.valid = 0.2;
  config.split.test = 0.1;
  config.shards.records = 50;
  return config;
}

}  // namespace lsd::testing
