// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/probe.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <optional>

#include "../dump/dump_into_internal.h"
#include "lsd/core/config.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/data/task_reader.h"
#include "lsd/io/embedding_reader.h"
#include "probe_estimate_internal.h"
#include "probe_evaluation_internal.h"
#include "probe_folder_internal.h"
#include "probe_plan_internal.h"
#include "stored_features_internal.h"

namespace lsd::tasks {
namespace {

class ProbeRun {
 public:
  ProbeRun(const ProbeConfig& config, Runtime& runtime)
      : config_(config), runtime_(runtime), folder_(config.run.directory, runtime), task_(read_task(config)) {}

  Outcome run() {
    report_task();
    open_folder();
    if (config_.sweep.baselines) run_baselines();
    for (const auto& set : stored_feature_sets(config_.features.dump)) {
      if (any_stop()) return folder_.end(RunState::stopped, "stopped between two results");
      run_identity(set.identity, set.origin(), [&] { return read_stored_features(set, task_); });
    }
    for (const auto& features : planned_features(config_)) {
      if (any_stop() || !run_features(features)) return folder_.end(RunState::stopped, "stopped between two results");
    }
    return folder_.end(RunState::done, "all results are written");
  }

 private:
  static data::Task read_task(const ProbeConfig& config) {
    return data::read_task(config.task.file, {.kind = data::task_kind_from_name(config.task.kind),
                                              .classes = config.task.classes,
                                              .allow_shared_sequences = config.task.allow_shared_sequences});
  }

  void open_folder() {
    // Further representations, times, heads and seeds may join the same folder.
    folder_.open(config_text(config_),
                 config_fingerprint(config_, {"task", "features", "head"},
                                    {"features.representation", "features.time", "features.dump"}));
  }

  void report_task() const {
    const auto count = [&](data::TaskSplit split) { return task_.rows_of(split).size(); };
    runtime_.log.info(fmt::format(
        "task {}: {} training, {} validation, {} test rows, {} distinct sequences{}", task_name(config_),
        count(data::TaskSplit::train), count(data::TaskSplit::valid), count(data::TaskSplit::test),
        task_.sequences.size(),
        task_.shared_sequences > 0 ? fmt::format("; {} sequences stand in two splits", task_.shared_sequences) : ""));
    auto notes = data::judge_labels(task_);
    for (auto& note : plan_notes(config_)) notes.push_back(std::move(note));
    if (!runtime_.ranks.is_root()) return;
    for (const auto& note : notes) runtime_.log.warn(note);
  }

  ProbeResult blank_result() const {
    const auto count = [&](data::TaskSplit split) { return static_cast<std::int64_t>(task_.rows_of(split).size()); };
    ProbeResult result;
    result.task = task_name(config_);
    result.kind = data::name_of(task_.kind);
    result.task_fingerprint = task_.fingerprint;
    result.classes = task_.classes;
    result.pairs = task_.pairs;
    result.train_rows = count(data::TaskSplit::train);
    result.valid_rows = count(data::TaskSplit::valid);
    result.test_rows = count(data::TaskSplit::test);
    result.shared_sequences = task_.shared_sequences;
    result.odd_residues = task_.odd_residues;
    return result;
  }

  HeadOptions head_options(const std::string& kind, double seed) const {
    const auto& head = config_.head;
    return {.kind = kind,
            .hidden = head.hidden,
            .epochs = head.epochs,
            .patience = head.patience,
            .batch = head.batch,
            .learning_rate = head.learning_rate,
            .weight_decay = head.weight_decay,
            .seed = static_cast<std::uint32_t>(seed),
            .on_epoch = [watchdog = runtime_.watchdog] { watchdog->progress(); }};
  }

  std::map<std::string, double> head_option_values(const std::string& kind) const {
    const auto& head = config_.head;
    std::map<std::string, double> values = {
        {"epochs", static_cast<double>(head.epochs)}, {"patience", static_cast<double>(head.patience)},
        {"batch", static_cast<double>(head.batch)},   {"learning_rate", head.learning_rate},
        {"weight_decay", head.weight_decay},          {"resamples", static_cast<double>(head.resamples)}};
    if (kind == "mlp") values["hidden"] = static_cast<double>(head.hidden);
    return values;
  }

  // Whether this rank computes the next result: every rank counts along.
  bool mine() { return next_result_++ % runtime_.ranks.size() == runtime_.ranks.rank(); }

  // Those of this rank that are not there yet.
  std::vector<ProbeResult> missing_results(ProbeResult result) {
    std::vector<ProbeResult> missing;
    for (const auto& kind : config_.sweep.heads) {
      for (const double seed : config_.sweep.seeds) {
        if (!mine()) continue;
        result.head = kind;
        result.seed = static_cast<std::int64_t>(seed);
        result.head_options = head_option_values(kind);
        result.fingerprint = result.compute_fingerprint();
        if (!folder_.holds(result)) missing.push_back(result);
      }
    }
    return missing;
  }

  // Collective. `features` is asked for only when a result is missing.
  template <class Features>
  void run_heads(const ProbeResult& blank, const Features& features) {
    auto missing = missing_results(blank);
    const auto all_epochs = static_cast<double>(config_.head.epochs);
    const auto estimate = estimate_heads(missing, config_.head, task_.sequences.size(), runtime_.ranks);
    if (estimate.work == 0.0) return;
    runtime_.log.info(fmt::format("{} t={:g}: {}", blank.representation, blank.time, estimate.sizes()));
    if (missing.empty()) return;
    const WatchScope scope(*runtime_.watchdog, "features of a probe");
    features();
    TimeTeller time(runtime_.log, estimate);
    double done = 0.0;
    std::int64_t number = 0;
    for (auto& result : missing) {
      runtime_.watchdog->note(++number, "heads of a probe");
      const auto begun = std::chrono::steady_clock::now();
      evaluate_head(task_, features(), head_options(result.head, static_cast<double>(result.seed)),
                    config_.head.resamples, result);
      fault_point("probe.head_trained");
      done += head_operations(result, config_.head) * static_cast<double>(result.epochs) / all_epochs;
      time.update(done);
      write(result, begun);
    }
  }

  void write(const ProbeResult& result, std::chrono::steady_clock::time_point begun) {
    folder_.write(result, std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    runtime_.log.info(fmt::format("{} {} t={:g} {} seed {}: test {} {:.4f} [{:.4f}, {:.4f}], validation {:.4f}",
                                  result.model, result.representation, result.time, result.head, result.seed,
                                  result.metric, result.test_score, result.interval.low, result.interval.high,
                                  result.valid_score));
  }

  void run_baselines() {
    auto result = blank_result();
    result.model = "baseline";
    result.representation = "composition";
    const auto features = composition_features(task_);
    result.width = features.width;
    run_heads(result, [&]() -> const SequenceFeatures& { return features; });
    if (!mine()) return;
    result.representation = "majority";
    result.width = 0;
    result.head = "none";
    result.head_options = {{"resamples", static_cast<double>(config_.head.resamples)}};
    result.fingerprint = result.compute_fingerprint();
    if (folder_.holds(result)) return;
    const auto begun = std::chrono::steady_clock::now();
    evaluate_majority(task_, config_.head.resamples, result);
    write(result, begun);
  }

  // Collective. False when it was told to stop.
  bool run_features(const FeatureConfig& features) {
    const auto dump = dump_means(features, config_.task.file, folder_.path() / "cache", runtime_);
    folder_.take_state();
    if (!dump) return false;
    const io::EmbeddingReader reader(*dump);
    const auto& identity = reader.manifest().identity;
    run_identity(identity, identity.weights + " " + identity.packing, [&] { return read_means(reader); });
    return true;
  }

  // `read` is called once, on ranks that lack a result.
  template <class Read>
  void run_identity(const io::EmbeddingIdentity& identity, const std::string& weights, const Read& read) {
    auto result = blank_result();
    result.model = model_name(config_);
    result.representation = identity.representation;
    result.time = identity.time;
    result.input = identity.input;
    result.draws = identity.draws;
    result.noise_seed = identity.seed;
    result.width = identity.width;
    result.weights = weights;
    std::optional<SequenceFeatures> values;
    run_heads(result, [&]() -> const SequenceFeatures& {
      if (values) return *values;
      values = read();
      fault_point("probe.features_ready");
      return *values;
    });
  }

  bool any_stop() {
    std::int64_t stop = runtime_.stop.requested() ? 1 : 0;
    runtime_.ranks.all_reduce_max(std::span(&stop, 1));
    return stop != 0;
  }

  SequenceFeatures read_means(const io::EmbeddingReader& reader) const {
    check(reader.size() == static_cast<std::int64_t>(task_.sequences.size()), "one mean for each sequence of the task");
    SequenceFeatures features{.width = reader.width()};
    features.values.resize(static_cast<std::size_t>(reader.size() * reader.width()));
    for (std::int64_t record = 0; record < reader.size(); ++record) {
      const auto row = reader.rows(record, 0, 1);
      std::memcpy(features.values.data() + record * reader.width(), row.data(), row.size());
    }
    return features;
  }

  const ProbeConfig& config_;
  Runtime& runtime_;
  ProbeFolder folder_;
  data::Task task_;
  std::int64_t next_result_ = 0;
};

}  // namespace

Outcome probe(const ProbeConfig& config, Runtime& runtime) {
  check(runtime.backend != nullptr, "a probe needs a backend");
  return ProbeRun(config, runtime).run();
}

}  // namespace lsd::tasks
