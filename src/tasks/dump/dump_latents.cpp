// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/dump_latents.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

#include "../estimate/work_estimate_internal.h"
#include "../shard/together_internal.h"
#include "dump_folder_internal.h"
#include "dump_into_internal.h"
#include "lsd/core/config.h"
#include "lsd/core/error.h"
#include "part_maker_internal.h"

namespace lsd::tasks {
namespace {

constexpr std::int64_t kTokensPerMeansPart = 1 << 18;  // of a probe's cache: tasks are small, so that ranks find work

io::EmbeddingIdentity identity_of(const DumpLatentsConfig& config, const FeatureModel& model,
                                  const NamedSource& source) {
  const auto kind = io::embedding_kind_from_name(config.output.mode);
  const bool encoder = model.spec.representation == models::Representation::encoder;
  const bool noised = !encoder && model.spec.input == models::DenoiserInput::noised;
  return {.kind = kind,
          .element = kind == io::EmbeddingKind::residues ? config.output.element : "float32",
          .width = model.width(),
          .specials = true,
          .representation = config.features.representation,
          .time = encoder ? 0.0 : config.features.time,
          .input = encoder ? "clean" : config.features.input,
          .draws = noised ? config.features.draws : 1,
          .seed = noised ? config.features.noise_seed : 0,
          .weights = model.weights(),
          .source = source.sequences->fingerprint(),
          .packing =
              fmt::format("activation={} capacity={} max_sequences={} tokens_per_part={}{}", config.features.activation,
                          config.features.capacity, config.features.max_sequences, config.output.tokens_per_part,
                          // Before, the mean over draws was rounded at each of them.
                          noised && config.features.activation == "bfloat16" ? " mean=float32" : "")};
}

DumpContent content_of(const DumpLatentsConfig& config, const FeatureModel& model) {
  DumpContent content{.source = open_source(config.input)};
  content.identity = identity_of(config, model, content.source);
  content.parts = plan_parts(*content.source.sequences, config.output.tokens_per_part);
  return content;
}

class LatentDump {
 public:
  // Without a parent the config names the folder; else it lies under `parent`, named by the identity.
  LatentDump(const DumpLatentsConfig& config, const std::filesystem::path& parent, Runtime& runtime)
      : config_(config),
        runtime_(runtime),
        model_(*runtime.backend, config.features),
        content_(content_of(config, model_)),
        embedder_(*runtime.backend, model_, config.features, *content_.source.sequences),
        folder_(
            parent.empty() ? std::filesystem::path(config.output.directory) : parent / content_.identity.fingerprint(),
            content_, config.output, parent.empty() ? DumpFolder::Use::own : DumpFolder::Use::shared, runtime) {}

  const std::filesystem::path& folder() const { return folder_.path(); }

  Outcome run() {
    if (folder_.is_finished()) return Outcome::done;
    const WatchScope scope(*runtime_.watchdog, "looking for finished parts");
    folder_.open(config_text(config_));
    const auto missing = folder_.find_missing();
    announce(missing);
    folder_.require_space(missing);
    if (!make_parts(missing)) {
      folder_.stop();
      return Outcome::stopped;
    }
    folder_.finish();
    return Outcome::done;
  }

 private:
  void announce(const std::vector<bool>& missing) const {
    std::int64_t all = 0, left = 0, tokens = 0, gaps = 0;
    for (std::size_t part = 0; part < missing.size(); ++part) {
      const auto bytes = bytes_of(content_.parts[part], content_.identity);
      all += bytes;
      tokens += content_.parts[part].tokens;
      left += missing[part] ? bytes : 0;
      gaps += missing[part] ? 1 : 0;
    }
    if (const auto& oddities = content_.source.oddities; !oddities.empty())
      runtime_.log.info(fmt::format("{} was read with: {}", config_.input.fasta, oddities));
    runtime_.log.info(fmt::format(
        "{} of {} sequences, {} tokens, width {}: {} in {} part files, {} of them ({}) to make{}", config_.output.mode,
        content_.source.sequences->size(), human_count(static_cast<double>(tokens)), content_.identity.width,
        human_bytes(static_cast<double>(all)), missing.size(), gaps, human_bytes(static_cast<double>(left)),
        config_.output.task_count > 1
            ? fmt::format(" by task {} of {}", config_.output.task_index, config_.output.task_count)
            : ""));
    if (gaps > 0 && gaps < runtime_.ranks.size()) {
      runtime_.log.info(fmt::format("{} of {} ranks have no part to make: lower output.tokens_per_part to use them",
                                    runtime_.ranks.size() - gaps, runtime_.ranks.size()));
    }
  }

  // What is to be done by the rank with the most, which shares nothing with the others.
  WorkEstimate estimate(const std::vector<bool>& missing, const std::vector<int>& rank_of) {
    std::vector<std::int64_t> tokens(static_cast<std::size_t>(runtime_.ranks.size()));
    std::int64_t bytes = 0;
    for (std::size_t part = 0; part < missing.size(); ++part) {
      if (!missing[part]) continue;
      tokens[static_cast<std::size_t>(rank_of[part])] += content_.parts[part].tokens;
      bytes += bytes_of(content_.parts[part], content_.identity);
    }
    const auto most = *std::max_element(tokens.begin(), tokens.end());
    return {.memory_bytes = most > 0 ? static_cast<double>(embedder_.memory_bytes()) : 0.0,
            .memory_of = "weights, activations of a batch",
            .disk_bytes = static_cast<double>(bytes),
            .work = static_cast<double>(most),
            .unit = "tokens"};
  }

  // This rank's share. False when any rank was told to stop.
  bool make_parts(const std::vector<bool>& missing) {
    const auto rank_of = assign_parts(content_.parts, missing, runtime_.ranks.size());
    std::int64_t mine = 0, done = 0;
    for (std::size_t part = 0; part < missing.size(); ++part) {
      if (rank_of[part] == runtime_.ranks.rank()) mine += content_.parts[part].tokens;
    }
    const auto whole = estimate(missing, rank_of);
    runtime_.log.info(whole.sizes());
    TimeTeller time(runtime_.log, whole);
    Progress progress(runtime_.log, "latents", mine, "tokens");
    const auto begin = std::chrono::steady_clock::now();
    std::int64_t stopped = 0;
    for (std::size_t part = 0; part < missing.size() && stopped == 0; ++part) {
      if (rank_of[part] != runtime_.ranks.rank()) continue;
      runtime_.watchdog->note(static_cast<std::int64_t>(part) + 1, "parts of the dump");
      const auto on_tokens = [&](std::int64_t tokens) {
        progress.update(done += tokens);
        time.update(static_cast<double>(done));
        runtime_.watchdog->progress();
      };
      stopped = make_part(part, on_tokens) ? 0 : 1;
    }
    progress.finish();
    runtime_.watchdog->progress();
    runtime_.ranks.all_reduce_max(std::span(&stopped, 1));
    tell_limit(done, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    runtime_.watchdog->progress();
    return stopped == 0;
  }

  // Collective. Means over the ranks, of which each has a disk and a device to wait for.
  void tell_limit(std::int64_t tokens, double seconds) {
    std::array<double, 4> sums{static_cast<double>(tokens), seconds, waits_.compute, waits_.disk};
    runtime_.ranks.all_reduce_sum(std::span(sums));
    runtime_.ranks.all_reduce_sum(std::span(&tokens_made_, 1));
    const auto ranks = static_cast<double>(runtime_.ranks.size());
    if (sums[0] == 0.0) return;
    sharding::together(runtime_.ranks, [&] {
      if (tokens_made_ == 0) return;  // a folder with nothing in it may still become another run's
      folder_.append_metrics({{"kind", "dump"},
                              {"tokens", tokens_made_},
                              {"seconds", sums[1] / ranks},
                              {"tokens_per_second", sums[0] * ranks / sums[1]},
                              {"seconds_waiting_for_writing", sums[2] / ranks},
                              {"seconds_waiting_for_computing", sums[3] / ranks}});
    });
    runtime_.log.info(fmt::format(
        "{} tokens in {:.1f} s, {} tokens/s; computing stood still {:.1f} s for writing, writing {:.1f} s for "
        "computing: {} was the limit",
        human_count(sums[0]), sums[1] / ranks, human_count(sums[0] * ranks / sums[1]), sums[2] / ranks, sums[3] / ranks,
        sums[2] > sums[3] ? "writing" : "computing"));
  }

  bool make_part(std::size_t part, const std::function<void(std::int64_t)>& on_tokens) {
    PartMaker maker(content_, embedder_, runtime_.stop, waits_);
    const auto result = maker.make(folder_.path(), part, folder_.placement_of(part), on_tokens);
    if (result == PartMaker::Result::was_there && !folder_.is_there(part)) {
      throw SystemError(fmt::format("{}: another job has put a part in place that is not this dump's",
                                    content_.part_path(folder_.path(), part).string()));
    }
    if (result == PartMaker::Result::committed) tokens_made_ += content_.parts[part].tokens;
    return result != PartMaker::Result::stopped;
  }

  const DumpLatentsConfig& config_;
  Runtime& runtime_;
  FeatureModel model_;
  DumpContent content_;
  SequenceEmbedder embedder_;
  DumpFolder folder_;
  DumpWaits waits_;
  std::int64_t tokens_made_ = 0;  // of parts that this rank has put in place
};

}  // namespace

void DumpOutputConfig::validate() const {
  if (task_index >= task_count)
    throw UserError(
        fmt::format("output.task_index is {}, but tasks are numbered from 0 to {}", task_index, task_count - 1));
}

Outcome dump_latents(const DumpLatentsConfig& config, Runtime& runtime) {
  check(runtime.backend != nullptr, "dumping needs a backend");
  return LatentDump(config, {}, runtime).run();
}

std::optional<std::filesystem::path> dump_means(const FeatureConfig& features, const std::string& task_file,
                                                const std::filesystem::path& parent, Runtime& runtime) {
  DumpLatentsConfig config{.features = features};
  config.input.task = task_file;
  config.output.mode = "means";
  config.output.tokens_per_part = kTokensPerMeansPart;
  LatentDump dump(config, parent, runtime);
  if (dump.run() == Outcome::stopped) return std::nullopt;
  return dump.folder();
}

}  // namespace lsd::tasks
