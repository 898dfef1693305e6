// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/batch_loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "lsd/core/error.h"

namespace lsd::data {

struct BatchLoader::State {
  State(std::shared_ptr<const SequenceSource> source_, BatchLoaderOptions options_)
      : source(std::move(source_)),
        options(std::move(options_)),
        order(source->size(), options.order),
        packer(*source, order, options.packing, options.first_visit),
        mine(micro_batches_of_rank(options.micro_batches, options.rank, options.ranks)) {
    options.content.specials = options.packing.specials;
    check(options.micro_batches > 0 && options.read_ahead_steps > 0, "a step has micro-batches and is read ahead");
    thread = std::thread([this] { run(); });
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    thread.join();
  }

  void run() {
    try {
      for (std::int64_t step = 0; step != options.max_steps; ++step) {
        auto batches = load();
        if (!batches || !put(std::move(*batches))) break;
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    finished = true;
    changed.notify_all();
  }

  std::optional<StepBatches> load() {
    const auto plan = packer.next_global(options.micro_batches);
    if (plan.sequences == 0) return std::nullopt;  // the end: the last range of visits held none, or only skipped ones
    StepBatches step{plan.first_visit, plan.end_visit, plan.rows, plan.residues, plan.sequences, {}};
    for (const auto k : mine) {
      auto batch = take_batch();
      fill_batch(*source, k < 0 ? MicroBatchPlan{} : plan.micro_batches[static_cast<std::size_t>(k)], options.content,
                 batch);
      if (options.decorate) options.decorate(batch);
      step.micro_batches.push_back(std::move(batch));
    }
    return step;
  }

  HostBatch take_batch() {
    {
      const std::lock_guard lock(mutex);
      if (!used.empty()) {
        auto batch = std::move(used.back());
        used.pop_back();
        return batch;
      }
    }
    return HostBatch(options.packing.capacity, options.packing.max_sequences, options.allocate);
  }

  // False when the loader is being destroyed.
  bool put(StepBatches step) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return stopping || static_cast<int>(ready.size()) < options.read_ahead_steps; });
    if (stopping) return false;
    ready.push_back(std::move(step));
    changed.notify_all();
    return true;
  }

  std::shared_ptr<const SequenceSource> source;
  BatchLoaderOptions options;
  SampleOrder order;
  Packer packer;  // after construction, the thread's alone
  std::vector<std::int64_t> mine;

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::deque<StepBatches> ready;
  std::vector<HostBatch> used;
  std::exception_ptr error;
  bool finished = false, stopping = false;
  std::thread thread;
};

BatchLoader::BatchLoader(std::shared_ptr<const SequenceSource> source, BatchLoaderOptions options)
    : state_(std::make_unique<State>(std::move(source), std::move(options))) {}

BatchLoader::~BatchLoader() = default;

std::optional<StepBatches> BatchLoader::next() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return !state_->ready.empty() || state_->finished; });
  if (state_->ready.empty()) {
    if (state_->error) std::rethrow_exception(state_->error);
    return std::nullopt;
  }
  auto step = std::move(state_->ready.front());
  state_->ready.pop_front();
  state_->changed.notify_all();
  return step;
}

void BatchLoader::recycle(StepBatches&& step) {
  const std::lock_guard lock(state_->mutex);
  for (auto& batch : step.micro_batches) state_->used.push_back(std::move(batch));
  step.micro_batches.clear();
}

BatchLoaderOptions one_pass(const SequenceSource& source, BatchLoaderOptions options, std::int64_t max_steps) {
  options.order.shuffle = false;
  options.packing.end_visit = source.size();
  options.packing.skipped_visits.clear();
  options.first_visit = 0;
  options.max_steps = max_steps;
  return options;
}

}  // namespace lsd::data
