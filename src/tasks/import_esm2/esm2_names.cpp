// SPDX-License-Identifier: Apache-2.0
#include "esm2_names_internal.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "lsd/core/error.h"
#include "lsd/tensor/dtype.h"

namespace lsd::tasks {
namespace {

struct Row {
  std::string_view ours;
  std::vector<std::string_view> theirs;
};

// Without "encoder.block.3." and "esm.encoder.layer.3.", and without the last word.
const std::vector<Row>& block_rows() {
  static const std::vector<Row> rows = {
      {"attention.norm", {"attention.LayerNorm"}},
      {"attention.qkv", {"attention.self.query", "attention.self.key", "attention.self.value"}},
      {"attention.out", {"attention.output.dense"}},
      {"feed_forward.norm", {"LayerNorm"}},
      {"feed_forward.up", {"intermediate.dense"}},
      {"feed_forward.down", {"output.dense"}}};
  return rows;
}

const std::vector<Row>& other_rows() {
  static const std::vector<Row> rows = {{"encoder.embedding", {"esm.embeddings.word_embeddings"}},
                                        {"encoder.norm", {"esm.encoder.emb_layer_norm_after"}},
                                        {"head.dense", {"lm_head.dense"}},
                                        {"head.norm", {"lm_head.layer_norm"}},
                                        {"head.decoder", {"lm_head"}}};
  return rows;
}

const Row& row_of(const std::vector<Row>& rows, std::string_view ours) {
  const auto found = std::ranges::find(rows, ours, &Row::ours);
  check(found != rows.end(), "every parameter of the MLM autoencoder is one of ESM-2's");
  return *found;
}

// transformers 5 writes norms named LayerNorm with TensorFlow's words.
std::vector<std::string> with_word(const std::string& stem, std::string_view our_word) {
  const std::string word = our_word == "gain" ? "weight" : std::string(our_word);
  std::vector<std::string> names{stem + "." + word};
  if (stem.ends_with("LayerNorm")) names.push_back(stem + (word == "weight" ? ".gamma" : ".beta"));
  return names;
}

}  // namespace

std::vector<std::vector<std::string>> esm2_names(std::string_view ours) {
  constexpr std::string_view kBlock = "encoder.block.";
  const auto word_at = ours.rfind('.');
  const auto word = ours.substr(word_at + 1);
  const auto* rows = &other_rows();
  std::string prefix;
  auto part = ours.substr(0, word_at);
  if (part.starts_with(kBlock)) {
    part.remove_prefix(kBlock.size());
    const auto dot = part.find('.');
    prefix = "esm.encoder.layer." + std::string(part.substr(0, dot)) + ".";
    part.remove_prefix(dot + 1);
    rows = &block_rows();
  }
  std::vector<std::vector<std::string>> names;
  for (const auto theirs : row_of(*rows, part).theirs) names.push_back(with_word(prefix + std::string(theirs), word));
  return names;
}

bool is_of_no_use(std::string_view name) {
  constexpr std::array<std::string_view, 6> kNames = {"esm.contact_head.regression.weight",
                                                      "esm.contact_head.regression.bias",
                                                      "esm.pooler.dense.weight",
                                                      "esm.pooler.dense.bias",
                                                      "esm.embeddings.position_embeddings.weight",
                                                      "esm.embeddings.position_ids"};
  return std::ranges::find(kNames, name) != kNames.end();
}

bool is_frequencies(std::string_view name) {
  return name.starts_with("esm.") && name.ends_with("rotary_embeddings.inv_freq");
}

std::string_view name_of(FrequencyRounding rounding) {
  switch (rounding) {
    case FrequencyRounding::none:
      return "none";
    case FrequencyRounding::float16:
      return "float16";
    case FrequencyRounding::coarser:
      return "coarser";
  }
  return "none";
}

std::optional<FrequencyRounding> rounding_of(std::span<const float> frequencies) {
  constexpr double kFloat32 = 1e-6;          // a float32 power and division
  constexpr double kBFloat16 = 1.0 / 256.0;  // a unit of 8 bits
  bool exact = true, half = true, coarse = true;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double wanted = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(frequencies.size()));
    const double found = frequencies[i];
    const double rounded = float_from_float16(float16_from_float(static_cast<float>(wanted)));
    exact = exact && std::abs(found - wanted) <= kFloat32 * wanted;
    half = half && std::abs(found - rounded) <= kFloat32 * rounded;
    coarse = coarse && std::abs(found - wanted) <= kBFloat16 * wanted;
  }
  if (exact) return FrequencyRounding::none;
  if (half) return FrequencyRounding::float16;
  if (coarse) return FrequencyRounding::coarser;
  return std::nullopt;
}

}  // namespace lsd::tasks
