// SPDX-License-Identifier: Apache-2.0
#include "run_checks_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "lsd/core/fault_point.h"

namespace lsd::tasks::verifying {
namespace {

struct Entry {
  const FileCheck* check;
  const std::string* kind;
};

std::vector<Entry> largest_first(const std::vector<Artefact>& artefacts) {
  std::vector<Entry> entries;
  for (const auto& artefact : artefacts) {
    for (const auto& check : artefact.files) entries.push_back({&check, &artefact.kind});
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return std::tuple(-a.check->bytes, a.check->file) < std::tuple(-b.check->bytes, b.check->file);
  });
  return entries;
}

// What the threads share.
class CheckRun {
 public:
  CheckRun(const Share& share, const CheckOptions& options) : share_(share), options_(options) {}

  std::vector<Problem> run() {
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(options_.threads), share_.checks.size());
    Progress progress(options_.log, "verified", share_.bytes, "bytes");
    working_ = static_cast<int>(count);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    for (std::unique_lock lock(mutex_); working_ > 0;) {
      ended_.wait_for(lock, std::chrono::milliseconds(100));
      progress.update(bytes_read_, problems_.empty() ? "" : counted(problems_.size(), "problem"));
    }
    for (auto& thread : threads) thread.join();
    progress.update(bytes_read_);
    progress.finish();
    std::ranges::sort(problems_);
    return std::move(problems_);
  }

 private:
  void work() {
    Reading reading(bytes_read_, options_.stop);
    for (auto next = next_.fetch_add(1); next < share_.checks.size() && !options_.stop.requested();
         next = next_.fetch_add(1)) {
      const auto& check = *share_.checks[next];
      auto what = problem_of([&] { return check.run(reading); });
      if (what.empty()) what = problem_of([]() -> std::string { return fault_point("verify.file_checked"), ""; });
      if (what.empty()) continue;
      const std::lock_guard lock(mutex_);
      problems_.push_back(
          {share_.kinds[next], check.file.string(), without_name(std::move(what), check.file.string())});
    }
    const std::lock_guard lock(mutex_);
    --working_;
    ended_.notify_one();
  }

  const Share& share_;
  const CheckOptions& options_;
  std::atomic<std::int64_t> bytes_read_{0};
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  int working_ = 0;
  std::vector<Problem> problems_;
};

}  // namespace

Share share_of_rank(const std::vector<Artefact>& artefacts, int rank, int ranks) {
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks));
  Share share;
  for (const auto& entry : largest_first(artefacts)) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += entry.check->bytes + 1;  // empty files are shared out too
    if (least - load.begin() != rank) continue;
    share.checks.push_back(entry.check);
    share.kinds.push_back(*entry.kind);
    share.bytes += entry.check->bytes;
  }
  return share;
}

std::vector<Problem> run_checks(const Share& share, const CheckOptions& options) {
  return CheckRun(share, options).run();
}

}  // namespace lsd::tasks::verifying
