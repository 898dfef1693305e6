// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which array of EsmForMaskedLM is which parameter of ours, under the names that versions of transformers have given
// it.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lsd::tasks {

inline constexpr const char* kEmbedding = "encoder.embedding.weight";  // ours
inline constexpr const char* kDecoder = "lm_head.decoder.weight";      // theirs, the embedding again

// The arrays that fill one of our parameters, one below the other in its rows; of each, the names it may have.
std::vector<std::vector<std::string>> esm2_names(std::string_view ours);

// What our model has no use for: contact head, pooler, position ids, position embeddings of rotary models.
bool is_of_no_use(std::string_view name);

// Buffers of rotary frequencies 10000^(-2 i / head_width), of every layer or of the whole model.
bool is_frequencies(std::string_view name);

// The published ESM-2 models were trained in float16 with these buffers rounded, and transformers computes with what
// the file holds.
enum class FrequencyRounding {
  none,
  float16,
  coarser,  // to bfloat16, when the whole model was converted: what it was trained with cannot be told
};
std::string_view name_of(FrequencyRounding rounding);  // "none", "float16", "coarser"
// None for frequencies of another theta.
std::optional<FrequencyRounding> rounding_of(std::span<const float> frequencies);

}  // namespace lsd::tasks
