// SPDX-License-Identifier: Apache-2.0
#pragma once
// Golden files and the formula that fills a model's parameters on both sides (coordinates.py).

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lsd/core/philox.h"
#include "lsd/nn/parameter_store.h"

namespace lsd::testing {

inline nlohmann::json read_golden(const std::string& name) {
  std::ifstream file(std::string(LSD_GOLDEN_FOLDER) + "/" + name);
  return nlohmann::json::parse(file);
}

inline std::uint64_t name_hash(std::string_view name) {  // FNV-1a
  std::uint64_t value = 0xCBF29CE484222325U;
  for (const char letter : name) value = (value ^ static_cast<unsigned char>(letter)) * 0x100000001B3U;
  return value;
}

inline std::vector<float> golden_values(const std::string& name, std::int64_t count, float centre, float half_width) {
  const auto key = random_key(2026, RandomStream::sample);
  const auto visit = name_hash(name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = centre + half_width * (2.0F * random_uniform(key, static_cast<std::uint32_t>(i), visit) - 1.0F);
  return values;
}

inline void fill_golden_parameters(nn::ParameterStore& store) {
  auto block = store.compute_block().span<float>();
  for (const auto& info : store.infos()) {
    float centre = 0.0F, half_width = std::sqrt(3.0F / static_cast<float>(info.shape.columns()));
    if (info.name.ends_with(".gain")) {
      centre = 1.0F;
      half_width = 0.2F;
    } else if (info.name.ends_with(".bias")) {
      half_width = 0.2F;
    } else if (info.name.ends_with("embedding.weight")) {
      half_width = 1.0F;
    }
    const auto values = golden_values(info.name, info.shape.elements(), centre, half_width);
    std::ranges::copy(values, block.begin() + info.offset);
  }
}

}  // namespace lsd::testing
