// SPDX-License-Identifier: Apache-2.0
#include "probe_result_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"
#include "lsd/core/sealed_text.h"

namespace lsd::tasks {
namespace {

using Json = nlohmann::ordered_json;

// One line of text: an array of thousands of numbers would take a line each.
std::string joined(const std::vector<double>& values) {
  return fmt::format("{}", fmt::join(values, " "));
}

std::vector<double> numbers_of(const std::string& text) {
  std::vector<double> values;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find(' ', begin), text.size());
    double value = 0.0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, value);
    if (error != std::errc{} || stop != text.data() + end)
      throw DataError(fmt::format("`{}` is no number: it is damaged; delete it and probe again",
                                  text.substr(begin, std::min<std::size_t>(end - begin, 40))));
    values.push_back(value);
    begin = end + 1;
  }
  return values;
}

Json test_json(const ProbeResult& result) {
  Json test = {{"metric", result.metric},
               {"score", result.test_score},
               {"interval", {result.interval.low, result.interval.high}}};
  for (const auto& [name, value] : result.test) test[name] = value ? Json(*value) : Json(nullptr);
  return test;
}

Json to_json(const ProbeResult& result) {
  return {{"checksum", kNoSeal},
          {"format", kResultFormat},
          {"version", kResultVersion},
          {"fingerprint", result.fingerprint},
          {"task",
           {{"name", result.task},
            {"kind", result.kind},
            {"classes", result.classes},
            {"pairs", result.pairs},
            {"train_rows", result.train_rows},
            {"valid_rows", result.valid_rows},
            {"test_rows", result.test_rows},
            {"shared_sequences", result.shared_sequences},
            {"odd_residues", result.odd_residues},
            {"fingerprint", result.task_fingerprint}}},
          {"features",
           {{"model", result.model},
            {"representation", result.representation},
            {"time", result.time},
            {"input", result.input},
            {"draws", result.draws},
            {"noise_seed", result.noise_seed},
            {"width", result.width},
            {"weights", result.weights}}},
          {"head", {{"kind", result.head}, {"seed", result.seed}, {"options", result.head_options}}},
          {"valid", {{"score", result.valid_score}, {"best_epoch", result.best_epoch}, {"epochs", result.epochs}}},
          {"test", test_json(result)},
          {"rows", {{"prediction", joined(result.predictions)}, {"label", joined(result.labels)}}}};
}

void read_what_was_probed(const Json& json, ProbeResult& result) {
  const auto& task = json.at("task");
  task.at("name").get_to(result.task);
  task.at("kind").get_to(result.kind);
  task.at("classes").get_to(result.classes);
  task.at("pairs").get_to(result.pairs);
  task.at("train_rows").get_to(result.train_rows);
  task.at("valid_rows").get_to(result.valid_rows);
  task.at("test_rows").get_to(result.test_rows);
  task.at("shared_sequences").get_to(result.shared_sequences);
  task.at("odd_residues").get_to(result.odd_residues);
  task.at("fingerprint").get_to(result.task_fingerprint);
  const auto& features = json.at("features");
  features.at("model").get_to(result.model);
  features.at("representation").get_to(result.representation);
  features.at("time").get_to(result.time);
  features.at("input").get_to(result.input);
  features.at("draws").get_to(result.draws);
  features.at("noise_seed").get_to(result.noise_seed);
  features.at("width").get_to(result.width);
  features.at("weights").get_to(result.weights);
  json.at("head").at("kind").get_to(result.head);
  json.at("head").at("seed").get_to(result.seed);
  json.at("head").at("options").get_to(result.head_options);
  json.at("fingerprint").get_to(result.fingerprint);
}

void read_rows(const Json& json, ProbeResult& result) {
  if (!json.contains("rows")) return;  // of an older program
  result.predictions = numbers_of(json.at("rows").at("prediction").get<std::string>());
  result.labels = numbers_of(json.at("rows").at("label").get<std::string>());
  const auto rows = static_cast<std::size_t>(result.test_rows);
  if ((result.predictions.size() != rows && !result.predictions.empty()) ||
      result.predictions.size() != result.labels.size()) {
    throw DataError(
        fmt::format("it has {} predictions and {} labels for {} test rows: it is damaged; delete it and probe again",
                    result.predictions.size(), result.labels.size(), rows));
  }
}

void read_what_came_out(const Json& json, ProbeResult& result) {
  json.at("valid").at("score").get_to(result.valid_score);
  json.at("valid").at("best_epoch").get_to(result.best_epoch);
  json.at("valid").at("epochs").get_to(result.epochs);
  for (const auto& [name, value] : json.at("test").items()) {
    if (name == "metric") {
      value.get_to(result.metric);
    } else if (name == "score") {
      value.get_to(result.test_score);
    } else if (name == "interval") {
      result.interval = {value.at(0).get<double>(), value.at(1).get<double>()};
    } else {
      result.test[name] = value.is_null() ? std::nullopt : std::optional(value.get<double>());
    }
  }
}

}  // namespace

std::string as_file_part(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '-' && c != '_'; }, '_');
  return text;
}

std::string ProbeResult::compute_fingerprint() const {
  auto text = fmt::format("{} {}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", kResultFormat, kResultVersion, task_fingerprint,
                          representation, time, input, draws, noise_seed, width, weights, head, seed);
  for (const auto& [name, value] : head_options) text += fmt::format("|{}={}", name, value);
  return checksum_hex(checksum64(text));
}

std::string ProbeResult::file_name() const {
  return fmt::format("{}.{}.{}.t{}.{}.seed{}.json", as_file_part(task), as_file_part(model),
                     as_file_part(representation), as_file_part(fmt::format("{:g}", time)), as_file_part(head), seed);
}

void write_result(const std::filesystem::path& folder, const ProbeResult& result) {
  write_file_atomically(folder / result.file_name(), seal_text(json_text(to_json(result), 1) + "\n"));
}

std::optional<ProbeResult> read_result(const std::filesystem::path& file) {
  return with_context("while reading " + file.string(), [&]() -> std::optional<ProbeResult> {
    try {
      const auto text = read_text_file(file);
      const Json json = Json::parse(text);
      if (!json.is_object() || json.value("format", "") != kResultFormat) return std::nullopt;
      if (json.at("version").get<std::int64_t>() != kResultVersion) {
        throw DataError(fmt::format("it has format version {}, this program reads version {}: probe again",
                                    json.at("version").get<std::int64_t>(), kResultVersion));
      }
      ProbeResult result;
      read_what_was_probed(json, result);
      read_what_came_out(json, result);
      read_rows(json, result);
      result.file = file;
      require_intact_seal(text);
      return result;
    } catch (const nlohmann::json::exception& error) {
      throw DataError(fmt::format("it is damaged ({}): delete it and probe again", error.what()));
    }
  });
}

}  // namespace lsd::tasks
