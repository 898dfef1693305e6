// SPDX-License-Identifier: Apache-2.0
#include "esm2_config_internal.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"

namespace fs = std::filesystem;

namespace lsd::tasks {
namespace {

using Json = nlohmann::json;

constexpr const char* kOlder = "ESM-1b, ESM-1v and older models have it, ESM-2 has not";

class ConfigReader {
 public:
  explicit ConfigReader(fs::path file)
      : file_(std::move(file)), json_(Json::parse(read_text_file(file_), nullptr, false)) {
    if (!json_.is_object()) throw DataError(file_.string() + " is damaged: it is no JSON object; download it again");
  }

  // Keys that are absent or null count as `fallback`, transformers' own default.
  Json value(const char* key, Json fallback) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? fallback : *found;
  }
  bool has(const char* key) const { return !value(key, nullptr).is_null(); }

  void require(const char* key, const Json& wanted, const Json& fallback, const std::string& why) const {
    const auto found = value(key, fallback);
    if (found == wanted) return;
    throw DataError(fmt::format("{}: {} is {}{}, and {} is needed: {}", file_.string(), key, found.dump(),
                                has(key) ? "" : " (not given)", wanted.dump(), why));
  }
  std::int64_t size(const char* key) const {
    const auto found = value(key, nullptr);
    if (!found.is_number_integer() || found.get<std::int64_t>() < 1 || found.get<std::int64_t>() > 1'000'000)
      throw DataError(
          fmt::format("{}: {} is {}, and a whole number of at least 1 is needed", file_.string(), key, found.dump()));
    return found.get<std::int64_t>();
  }
  bool truth(const char* key, bool fallback) const {
    const auto found = value(key, fallback);
    if (!found.is_boolean())
      throw DataError(fmt::format("{}: {} is {}, and true or false is needed", file_.string(), key, found.dump()));
    return found.get<bool>();
  }
  const fs::path& file() const { return file_; }

 private:
  fs::path file_;
  Json json_;
};

void require_esm2(const ConfigReader& config) {
  config.require("model_type", "esm", nullptr, "this program takes ESM-2 over and no other architecture");
  config.require("is_folding_model", false, false, "ESMFold is not taken over, only ESM-2 itself");
  config.require("position_embedding_type", "rotary", "absolute", kOlder);
  config.require("emb_layer_norm_before", false, false, kOlder);
  config.require("vocab_size", data::kVocabulary, nullptr, "our tokens are ESM-2's 33");
  config.require("mask_token_id", data::kMask, nullptr, "our tokens are ESM-2's, in its order");
  config.require("pad_token_id", data::kPad, nullptr, "our tokens are ESM-2's, in its order");
  config.require("layer_norm_eps", 1e-5, 1e-12, "our norms have ESM-2's epsilon");
  config.require("rope_theta", 10000.0, 10000.0, "our rotary positions have ESM-2's theta");
  config.require("hidden_act", "gelu", "gelu", "ESM-2's activation is the GELU with the error function");
  config.require("is_decoder", false, false, "our encoder looks at whole sequences");
  config.require("add_cross_attention", false, false, "our encoder has none");
  config.require("quantization_config", nullptr, nullptr, "quantised weights are not read");
}

void require_alphabet(const std::vector<std::string>& tokens, const std::string& where) {
  for (std::size_t i = 0; i < data::kTokens.size(); ++i)
    if (i >= tokens.size() || tokens[i] != data::kTokens[i])
      throw DataError(fmt::format("{}: token {} is '{}' and ESM-2's is '{}': it is the vocabulary of another model",
                                  where, i, i < tokens.size() ? tokens[i] : "", data::kTokens[i]));
  if (tokens.size() > data::kTokens.size())
    throw DataError(fmt::format("{} holds {} tokens and ESM-2 has {}: it is the vocabulary of another model", where,
                                tokens.size(), data::kTokens.size()));
}

void require_vocabulary(const ConfigReader& config, const fs::path& file) {
  if (config.has("vocab_list")) {
    try {
      require_alphabet(config.value("vocab_list", nullptr).get<std::vector<std::string>>(),
                       config.file().string() + ", vocab_list");
    } catch (const Json::exception&) {
      throw DataError(config.file().string() + ": vocab_list is no list of tokens");
    }
  }
  if (!fs::exists(file)) return;
  std::istringstream text(read_text_file(file));
  std::vector<std::string> tokens;
  for (std::string line; std::getline(text, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) tokens.push_back(line);
  }
  require_alphabet(tokens, file.string());
}

}  // namespace

Esm2Config read_esm2_config(const fs::path& folder) {
  const ConfigReader reader(folder / "config.json");
  require_esm2(reader);
  require_vocabulary(reader, folder / "vocab.txt");
  Esm2Config config;
  config.model.variant = "mlm";
  config.model.gelu = "erf";
  config.model.width = reader.size("hidden_size");
  config.model.heads = reader.size("num_attention_heads");
  config.model.encoder_layers = reader.size("num_hidden_layers");
  reader.require("intermediate_size", 4 * config.model.width, 3072,
                 "our feed-forward layers are four times as wide as the model, as ESM-2's are");
  config.token_dropout = reader.truth("token_dropout", false);
  config.tied = reader.truth("tie_word_embeddings", true);
  with_context("while taking the model's size from " + reader.file().string(), [&] { config.model.validate(); });
  return config;
}

}  // namespace lsd::tasks
