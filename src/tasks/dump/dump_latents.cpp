// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/dump_latents.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "dump_into_internal.h"
#include "dump_parts_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/config.h"
#include "lsd/core/error.h"
#include "lsd/core/run_dir.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/io/embedding_writer.h"
#include "named_source_internal.h"
#include "sequence_embedder_internal.h"

namespace lsd::tasks {
namespace {

constexpr std::string_view kProgram = "lsd_dump_latents";
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
              fmt::format("activation={} capacity={} max_sequences={} tokens_per_part={}", config.features.activation,
                          config.features.capacity, config.features.max_sequences, config.output.tokens_per_part)};
}

class LatentDump {
 public:
  // Without a folder in the config, one named by the identity under `parent`.
  LatentDump(const DumpLatentsConfig& config, const std::filesystem::path& parent, Runtime& runtime)
      : config_(config),
        runtime_(runtime),
        model_(*runtime.backend, config.features),
        source_(open_source(config.input)),
        identity_(identity_of(config, model_, source_)),
        parts_(plan_parts(*source_.sequences, config.output.tokens_per_part)),
        embedder_(*runtime.backend, model_, config.features, *source_.sequences),
        folder_(parent.empty() ? std::filesystem::path(config.output.directory) : parent / identity_.fingerprint()) {}

  const std::filesystem::path& folder() const { return folder_; }

  Outcome run() {
    if (is_done()) return Outcome::done;
    open_folder();
    const auto missing = find_missing();
    announce(missing);
    if (!make_parts(missing)) return stop();
    runtime_.ranks.barrier();
    if (runtime_.ranks.is_root()) finish();
    runtime_.ranks.barrier();
    return Outcome::done;
  }

 private:
  // A finished dump of the same identity with all its parts: nothing to do.
  bool is_done() const {
    std::int64_t done = 0;
    if (runtime_.ranks.is_root() && io::has_embedding_manifest(folder_)) {
      try {
        done = io::EmbeddingReader(folder_).manifest().identity.fingerprint() == identity_.fingerprint() ? 1 : 0;
      } catch (const DataError& error) {
        runtime_.log.warn(fmt::format("the dump is damaged and will be mended: {}", error.what()));
      }
    }
    runtime_.ranks.all_reduce_max(std::span(&done, 1));
    if (done != 0) runtime_.log.info(fmt::format("{} is finished already", folder_.string()));
    return done != 0;
  }

  void open_folder() {
    if (runtime_.ranks.is_root()) {
      run_dir_.emplace(folder_, kProgram, config_text(config_), identity_.fingerprint(), runtime_.ranks.size());
      run_dir_->clear_state();
      remove_partials(folder_);
    }
    runtime_.ranks.barrier();
    runtime_.run_folder = folder_;
  }

  std::filesystem::path part_path(std::size_t part) const {
    return folder_ / io::embedding_part_name(static_cast<std::int64_t>(part), static_cast<std::int64_t>(parts_.size()));
  }

  // Whether a file is there that holds this part. A damaged one is told and made again.
  bool is_there(std::size_t part) const {
    const auto path = part_path(part);
    if (!std::filesystem::exists(path)) return false;
    try {
      const io::EmbeddingPartReader reader(path);
      if (reader.fingerprint() == identity_.fingerprint() && reader.entry().first_record == parts_[part].begin &&
          reader.entry().records == parts_[part].end - parts_[part].begin) {
        return true;
      }
      runtime_.log.warn(fmt::format("{} is another dump's: making it again", path.string()));
    } catch (const DataError& error) {
      runtime_.log.warn(fmt::format("making a damaged part again: {}", error.what()));
    }
    return false;
  }

  // Rank r looks at every ranks-th part.
  std::vector<bool> find_missing() const {
    std::vector<std::int64_t> there(parts_.size());
    const auto ranks = static_cast<std::size_t>(runtime_.ranks.size());
    for (auto part = static_cast<std::size_t>(runtime_.ranks.rank()); part < parts_.size(); part += ranks) {
      there[part] = is_there(part) ? 1 : 0;
    }
    runtime_.ranks.all_reduce_sum(std::span(there));
    std::vector<bool> missing;
    for (const auto flag : there) missing.push_back(flag == 0);
    return missing;
  }

  void announce(const std::vector<bool>& missing) const {
    std::int64_t all = 0, left = 0, tokens = 0, gaps = 0;
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      const auto bytes = bytes_of(parts_[part], identity_);
      all += bytes;
      tokens += parts_[part].tokens;
      if (!missing[part]) continue;
      left += bytes;
      ++gaps;
    }
    runtime_.log.info(fmt::format(
        "{} of {} sequences, {} tokens, width {}: {} in {} part files, {} of them ({}) to make", config_.output.mode,
        source_.sequences->size(), human_count(static_cast<double>(tokens)), identity_.width,
        human_bytes(static_cast<double>(all)), parts_.size(), gaps, human_bytes(static_cast<double>(left))));
    if (gaps > 0 && gaps < runtime_.ranks.size()) {
      runtime_.log.info(fmt::format("{} of {} ranks have no part to make: lower output.tokens_per_part to use them",
                                    runtime_.ranks.size() - gaps, runtime_.ranks.size()));
    }
    if (runtime_.ranks.is_root()) require_free_space(folder_, static_cast<std::uint64_t>(left), "the latents");
    runtime_.ranks.barrier();
  }

  // This rank's share. False when any rank was told to stop.
  bool make_parts(const std::vector<bool>& missing) {
    const auto rank_of = assign_parts(parts_, missing, runtime_.ranks.size());
    std::int64_t mine = 0;
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      if (rank_of[part] == runtime_.ranks.rank()) mine += parts_[part].tokens;
    }
    Progress progress(runtime_.log, "latents", mine, "tokens");
    std::int64_t done = 0;
    bool complete = true;
    for (std::size_t part = 0; part < parts_.size() && complete; ++part) {
      if (rank_of[part] == runtime_.ranks.rank()) complete = make_part(part, progress, done);
    }
    progress.finish();
    std::int64_t stopped = complete ? 0 : 1;
    runtime_.ranks.all_reduce_max(std::span(&stopped, 1));
    return stopped == 0;
  }

  io::EmbeddingPartPlan part_plan(std::size_t part) const {
    const auto& range = parts_[part];
    io::EmbeddingPartPlan plan{.index = static_cast<std::int64_t>(part),
                               .count = static_cast<std::int64_t>(parts_.size()),
                               .first_record = range.begin,
                               .offsets = {0}};
    for (std::int64_t record = range.begin; record < range.end; ++record) {
      plan.residues += source_.sequences->length(record);
      plan.offsets.push_back(plan.offsets.back() + static_cast<std::uint64_t>(source_.sequences->length(record)) + 2);
      plan.ids.push_back(source_.id(record));
    }
    return plan;
  }

  bool make_part(std::size_t part, Progress& progress, std::int64_t& done) {
    io::EmbeddingWriter writer(folder_, identity_, part_plan(part));
    const auto width = static_cast<std::size_t>(identity_.width);
    io::EmbeddingMoments moments{.mean = std::vector<double>(width), .squared_deviations = std::vector<double>(width)};
    std::int64_t overflows = 0;
    for (const auto& plan : embedder_.plan(parts_[part].begin, parts_[part].end)) {
      if (runtime_.stop.requested()) return false;
      const auto batch = embedder_.run(plan, {.rows = identity_.kind == io::EmbeddingKind::residues,
                                              .means = identity_.kind == io::EmbeddingKind::means});
      moments.add(moments_of(batch));
      if (identity_.kind == io::EmbeddingKind::residues) overflows += append_rows(writer, batch.rows);
      if (identity_.kind == io::EmbeddingKind::means) writer.append(std::as_bytes(std::span(batch.means)));
      done += plan.rows;
      progress.update(done);
    }
    writer.finish(moments, overflows);
    return true;
  }

  static io::EmbeddingMoments moments_of(const EmbeddedBatch& batch) {
    io::EmbeddingMoments moments{.count = batch.plan.residues};
    moments.mean.assign(batch.moment_mean.begin(), batch.moment_mean.end());
    for (const float variance : batch.moment_variance) {
      moments.squared_deviations.push_back(static_cast<double>(variance) * static_cast<double>(moments.count));
    }
    return moments;
  }

  // Returns how many values do not fit the stored type.
  std::int64_t append_rows(io::EmbeddingWriter& writer, const std::vector<float>& rows) const {
    if (identity_.element == "float32") {
      writer.append(std::as_bytes(std::span(rows)));
      return 0;
    }
    std::vector<std::uint16_t> halves(rows.size());
    std::int64_t overflows = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      halves[i] = float16_from_float(rows[i]);
      overflows += (halves[i] & 0x7FFFU) == 0x7C00U ? 1 : 0;
    }
    writer.append(std::as_bytes(std::span(halves)));
    return overflows;
  }

  Outcome stop() {
    runtime_.ranks.barrier();
    if (runtime_.ranks.is_root()) {
      run_dir_->commit_state(RunState::stopped, "stopped between two parts; the same command fills the gaps");
    }
    return Outcome::stopped;
  }

  // Rank 0, when all parts should be there: lists them, or says which are not.
  void finish() {
    io::EmbeddingManifest manifest{.identity = identity_};
    std::string lost;
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      if (!is_there(part)) {
        lost += fmt::format(" {}", part_path(part).filename().string());
        continue;
      }
      const io::EmbeddingPartReader reader(part_path(part));
      manifest.parts.push_back(reader.entry());
      manifest.moments.add(reader.moments());
    }
    if (!lost.empty()) {
      throw SystemError(
          fmt::format("{}: the dump is incomplete, these parts are missing:{}. Run the same command again",
                      folder_.string(), lost));
    }
    if (manifest.moments.mean.empty()) {
      manifest.moments.mean.resize(static_cast<std::size_t>(identity_.width));
      manifest.moments.squared_deviations.resize(static_cast<std::size_t>(identity_.width));
    }
    io::write_embedding_manifest(folder_, manifest);
    if (manifest.overflows() > 0) {
      runtime_.log.warn(
          fmt::format("{} values do not fit float16 and were stored as infinity: use output.element=float32",
                      manifest.overflows()));
    }
    run_dir_->commit_state(RunState::done, "all parts and the manifest are written");
    runtime_.log.info(fmt::format("{} records in {}", manifest.records(), folder_.string()));
  }

  const DumpLatentsConfig& config_;
  Runtime& runtime_;
  FeatureModel model_;
  NamedSource source_;
  io::EmbeddingIdentity identity_;
  std::vector<PartRange> parts_;
  SequenceEmbedder embedder_;
  std::filesystem::path folder_;
  std::optional<RunDir> run_dir_;  // rank 0
};

}  // namespace

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
