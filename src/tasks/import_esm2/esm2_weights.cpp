// SPDX-License-Identifier: Apache-2.0
#include "esm2_weights_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "esm2_names_internal.h"
#include "lsd/core/error.h"
#include "lsd/tensor/dtype.h"

namespace lsd::tasks {
namespace {

constexpr std::size_t kShownProblems = 12;

// One element of a mapped array, which need not be aligned.
template <class T>
T element_at(const io::NamedArray& array, std::size_t i) {
  T value;
  std::memcpy(&value, array.bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <class T, class Convert>
void convert_elements(const io::NamedArray& array, std::span<float> to, Convert&& convert) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = convert(element_at<T>(array, i));
}

bool is_readable(io::ArrayType type) {
  return type == io::ArrayType::float32 || type == io::ArrayType::float16 || type == io::ArrayType::bfloat16 ||
         type == io::ArrayType::float64;
}

void to_floats(const io::NamedArray& array, std::span<float> to) {
  switch (array.type) {
    case io::ArrayType::float16:
      return convert_elements<std::uint16_t>(array, to, float_from_float16);
    case io::ArrayType::bfloat16:
      return convert_elements<BFloat16>(array, to, [](BFloat16 value) { return static_cast<float>(value); });
    case io::ArrayType::float64:
      return convert_elements<double>(array, to, [](double value) { return static_cast<float>(value); });
    default:
      check(array.type == io::ArrayType::float32, "other types are refused before");
      std::memcpy(to.data(), array.bytes.data(), array.bytes.size());
  }
}

class WeightReader {
 public:
  WeightReader(const Esm2Source& source, const Esm2Config& config) : source_(source), config_(config) {}

  Esm2Weights read(const nn::ParameterStore& store) {
    require_language_model();
    weights_.block.assign(static_cast<std::size_t>(store.elements()), 0.0F);
    for (const auto& info : store.infos()) read_parameter(info);
    compare_decoder();
    read_frequencies();
    sort_out_the_rest();
    if (!problems_.empty()) fail();
    weights_.elements.assign(elements_.begin(), elements_.end());
    return std::move(weights_);
  }

 private:
  // Before one missing array after the other is told.
  void require_language_model() const {
    if (source_.find("embeddings.word_embeddings.weight") != nullptr)
      throw DataError(
          fmt::format("{} holds the encoder alone (EsmModel), without the masked-LM head: take the folder of "
                      "an EsmForMaskedLM, or save one with transformers",
                      source_.folder().string()));
    if (source_.find("lm_head.bias") == nullptr && source_.find("lm_head.dense.weight") == nullptr)
      throw DataError(
          fmt::format("{} holds no masked-LM head (lm_head.*), as classifiers and other fine-tuned models do "
                      "not: take the folder of an EsmForMaskedLM",
                      source_.folder().string()));
  }

  [[noreturn]] void fail() const {
    auto text = fmt::format("{} does not fit the model that its config.json describes:", source_.folder().string());
    for (std::size_t i = 0; i < std::min(problems_.size(), kShownProblems); ++i) text += "\n  " + problems_[i];
    if (problems_.size() > kShownProblems) text += fmt::format("\n  and {} more", problems_.size() - kShownProblems);
    throw DataError(text);
  }
  void problem(std::string text) { problems_.push_back(std::move(text)); }

  // The array under the first of its names that is there.
  const io::NamedArray* take(const std::vector<std::string>& names) {
    const io::NamedArray* taken = nullptr;
    for (const auto& name : names) {
      const auto* array = source_.find(name);
      if (array == nullptr) continue;
      if (taken == nullptr)
        taken = array;
      else
        problem(fmt::format("{} and {} are names of the same array, and both are there", taken->name, name));
      used_.insert(name);
    }
    if (taken == nullptr) problem(fmt::format("{} is missing", names.front()));
    return taken;
  }

  bool fits(const io::NamedArray& array, const std::vector<std::int64_t>& shape) {
    if (array.shape != shape)
      problem(fmt::format("{} has shape [{}] and [{}] is needed", array.name, fmt::join(array.shape, ", "),
                          fmt::join(shape, ", ")));
    else if (!is_readable(array.type))
      problem(fmt::format("{} has type {}, and F32, F16, BF16 or F64 is needed", array.name,
                          io::safetensors_name(array.type)));
    return array.shape == shape && is_readable(array.type);
  }

  void read_into(const io::NamedArray& array, std::span<float> to) {
    to_floats(array, to);
    elements_.insert(std::string(io::safetensors_name(array.type)));
    const auto odd = std::find_if(to.begin(), to.end(), [](float value) { return !std::isfinite(value); });
    if (odd != to.end())
      problem(fmt::format("{} holds {} at element {}: the file is damaged, or float16 overflowed", array.name, *odd,
                          odd - to.begin()));
  }

  void read_parameter(const nn::ParameterInfo& info) {
    const auto parts = esm2_names(info.name);
    std::vector<std::int64_t> shape{info.shape[0] / static_cast<std::int64_t>(parts.size())};
    if (info.shape.rank() == 2) shape.push_back(info.shape[1]);
    const auto elements = static_cast<std::size_t>(info.shape.elements()) / parts.size();
    auto* to = weights_.block.data() + info.offset;
    for (auto names : parts) {
      // Writers of tied models keep one of the two names.
      if (info.name == kEmbedding && config_.tied && source_.find(names.front()) == nullptr) names = {kDecoder};
      const auto* array = take(names);
      if (array != nullptr && fits(*array, shape)) read_into(*array, {to, elements});
      to += elements;
    }
    if (info.name == kEmbedding) embedding_ = {weights_.block.data() + info.offset, elements};
  }

  // Our head has no matrix of its own.
  void compare_decoder() {
    const auto* decoder = source_.find(kDecoder);
    if (decoder == nullptr) {
      if (!config_.tied) problem(fmt::format("{} is missing, and config.json says that it is not tied", kDecoder));
      return;
    }
    if (!used_.insert(kDecoder).second) return;
    if (!fits(*decoder, {33, config_.model.width})) return;
    std::vector<float> values(embedding_.size());
    read_into(*decoder, values);
    if (!std::ranges::equal(values, embedding_))
      problem(fmt::format("{} differs from the embedding, and our head is tied to it", kDecoder));
  }

  void read_frequencies() {
    std::set<FrequencyRounding> met;
    for (const auto& [name, at] : source_.arrays()) {
      if (!is_frequencies(name)) continue;
      used_.insert(name);
      const auto half = config_.model.width / config_.model.heads / 2;
      if (!fits(*at.array, {half})) continue;
      std::vector<float> values(static_cast<std::size_t>(half));
      to_floats(*at.array, values);
      const auto rounding = rounding_of(values);
      if (!rounding)
        problem(fmt::format("{} holds other rotary frequencies than those of theta = 10000 ({:.6g})", name,
                            fmt::join(values, ", ")));
      else
        met.insert(*rounding);
    }
    if (met.size() > 1) problem("the rotary frequencies of some layers are rounded and those of others are not");
    if (!met.empty()) weights_.frequencies = *met.begin();
  }

  void sort_out_the_rest() {
    for (const auto& [name, at] : source_.arrays()) {
      if (used_.contains(name)) continue;
      if (is_of_no_use(name))
        weights_.unused.push_back(name);
      else
        problem(fmt::format("{} is not an array of ESM-2's", name));
    }
  }

  const Esm2Source& source_;
  const Esm2Config& config_;
  Esm2Weights weights_;
  std::span<const float> embedding_;
  std::set<std::string> used_, elements_;
  std::vector<std::string> problems_;
};

}  // namespace

Esm2Weights read_esm2_weights(const Esm2Source& source, const Esm2Config& config, const nn::ParameterStore& store) {
  return WeightReader(source, config).read(store);
}

}  // namespace lsd::tasks
