// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/build_info.h"
#include "lsd/core/config.h"
#include "lsd/core/host_name.h"
#include "lsd/core/json_text.h"
#include "lsd/data/shard_set.h"
#include "shard_internal.h"

namespace lsd::tasks::sharding {
namespace {

// Options that decide what the shards hold; where they lie and how much memory it takes do not.
std::vector<std::pair<std::string, std::string>> deciding_options(const ShardConfig& config) {
  auto copy = config;
  const auto schema = describe(copy);
  std::vector<std::pair<std::string, std::string>> options;
  for (const auto& field : schema.fields()) {
    const bool decides =
        !field.name.starts_with("input.") && !field.name.starts_with("output.") && !field.name.starts_with("memory.");
    if (decides) options.emplace_back(field.name, schema.value_text(field));
  }
  return options;
}

}  // namespace

std::string file_name_of(const std::string& path) {
  return path == "-" ? path : std::filesystem::path(path).filename().string();
}

data::FastaTally sum_of(const std::vector<data::FastaTally>& tallies) {
  std::array<std::int64_t, data::FastaTally::kFigures> sum{};
  for (const auto& tally : tallies) {
    const auto figures = tally.figures();
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += figures[i];
  }
  return data::FastaTally::from_figures(sum);
}

io::ShardManifest make_manifest(const Job& job, const ReadResult& result, std::vector<io::ManifestSplit> splits) {
  io::ShardManifest manifest{
      .fingerprint = job.fingerprint, .alphabet = data::alphabet_text(), .options = deciding_options(job.config)};
  for (std::size_t file = 0; file < job.files.size(); ++file) {
    manifest.inputs.push_back({.name = file_name_of(job.config.input.files[file]),
                               .encoding = std::string(job.files[file].encoding),
                               .bytes = static_cast<std::int64_t>(job.files[file].bytes),
                               .counts = result.tallies[file].named()});
  }
  const auto sum = sum_of(result.tallies);
  sum.check_sums();
  manifest.counts = sum.named();
  manifest.splits = std::move(splits);
  std::int64_t records = 0, residues = 0;
  for (const auto& split : manifest.splits) {
    records += split.records();
    residues += split.residues();
  }
  check(records == sum.kept().records && residues == sum.kept().residues,
        "the shards hold what was kept, no more, no less");
  return manifest;
}

std::string tally_table(const data::FastaTally& tally) {
  std::string text = fmt::format("{:<28}{:>14}{:>18}\n", "", "records", "residues");
  const auto row = [&](std::string_view name, const data::FastaTally::Sum& sum) {
    text += fmt::format("{:<28}{:>14}{:>18}\n", name, sum.records, sum.residues);
  };
  row("read", tally.read);
  for (int fate = 1; fate < data::kDrops; ++fate) {
    const auto& sum = tally.by_fate[static_cast<std::size_t>(fate)];
    if (sum.records > 0) row(data::drop_name(static_cast<data::Drop>(fate)), sum);
  }
  row("kept", tally.kept());
  const auto named = tally.named();
  for (std::size_t i = 2 + 2 * data::kDrops; i < named.size(); ++i) {
    if (named[i].second > 0) text += fmt::format("{:<28}{:>14}\n", named[i].first, named[i].second);
  }
  return text;
}

std::string split_table(const std::vector<io::ManifestSplit>& splits) {
  std::string text = fmt::format("{:<28}{:>14}{:>18}{:>9}\n", "split", "records", "residues", "shards");
  for (const auto& split : splits)
    text +=
        fmt::format("{:<28}{:>14}{:>18}{:>9}\n", split.name, split.records(), split.residues(), split.shards.size());
  return text;
}

void write_provenance(const Job& job, const std::filesystem::path& folder, double seconds) {
  auto& ranks = job.runtime.ranks;
  const auto name = host_name();
  nlohmann::ordered_json hosts = nlohmann::ordered_json::array();
  for (const auto& bytes : ranks.all_gather(std::as_bytes(std::span(name))))
    hosts.push_back(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  together(ranks, [&] {
    if (!ranks.is_root()) return;
    nlohmann::ordered_json inputs = nlohmann::ordered_json::array();
    for (const auto& path : job.config.input.files)
      inputs.push_back(path == "-" ? path : std::filesystem::absolute(path).string());
    const nlohmann::ordered_json json = {
        {"fingerprint", job.fingerprint},
        {"finished", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
        {"seconds", seconds},
        {"ranks", ranks.size()},
        {"hosts", hosts},
        {"inputs", inputs},
        {"version", version()},
        {"git_revision", git_revision()}};
    write_file_atomically(folder / "provenance.json", json_text(json, 2) + "\n");
  });
}

}  // namespace lsd::tasks::sharding
