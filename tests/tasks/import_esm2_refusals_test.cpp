// SPDX-License-Identifier: Apache-2.0
// What lsd_import_esm2 does not take, and how it says so.
#include <gtest/gtest.h>

#include <cmath>

#include "import_esm2/esm2_names_internal.h"
#include "import_esm2_support.h"
#include "lsd/tensor/dtype.h"

namespace lsd::tasks {
namespace {

using testing::expect_error;
using testing::json;
using testing::kEsm2Golden;
using testing::read_json;

class ImportEsm2Refuses : public testing::Esm2ImportTest {};

TEST_F(ImportEsm2Refuses, OtherModelsByTheirConfig) {
  refuse_config("model_type", "bert", {"config.json", "model_type is \"bert\"", "\"esm\" is needed"});
  refuse_config("position_embedding_type", "absolute", {"position_embedding_type", "\"rotary\" is needed", "ESM-1b"});
  refuse_config("position_embedding_type", json(json::value_t::discarded), {"position_embedding_type", "(not given)"});
  refuse_config("emb_layer_norm_before", true, {"emb_layer_norm_before is true", "ESM-1b"});
  refuse_config("layer_norm_eps", 1e-12, {"layer_norm_eps is 1e-12"});
  refuse_config("hidden_act", "relu", {"hidden_act", "relu"});
  refuse_config("vocab_size", 35, {"vocab_size is 35, and 33 is needed"});
  refuse_config("mask_token_id", 31, {"mask_token_id is 31"});
  refuse_config("rope_theta", 500000.0, {"rope_theta"});
  refuse_config("is_folding_model", true, {"ESMFold"});
  refuse_config("intermediate_size", 96, {"intermediate_size is 96, and 128 is needed"});
  refuse_config("hidden_size", "wide", {"hidden_size", "whole number"});
  refuse_config("num_attention_heads", 3, {"cannot be split into 3 heads", "config.json"});
  refuse_config("token_dropout", "yes", {"token_dropout", "true or false"});
  refuse_config("vocab_list", json::array({"<pad>", "<cls>"}), {"vocab_list", "token 0 is '<pad>'"});
  refuse_config("num_hidden_layers", 3, {"esm.encoder.layer.2.attention.LayerNorm.weight is missing", "more"});
}

TEST_F(ImportEsm2Refuses, ArraysThatDoNotFitByName) {
  refuse_arrays([&](auto& arrays) { array(arrays, "lm_head.bias").name = "lm_head.bios"; },
                {"lm_head.bias is missing", "lm_head.bios is not an array of ESM-2's"});
  refuse_arrays(
      [&](auto& arrays) {
        array(arrays, "lm_head.dense.weight").shape = {16, 64};
      },
      {"lm_head.dense.weight has shape [16, 64] and [32, 32] is needed"});
  refuse_arrays([&](auto& arrays) { array(arrays, "lm_head.dense.weight").type = io::ArrayType::int32; },
                {"lm_head.dense.weight has type I32"});
  refuse_arrays(
      [&](auto& arrays) {
        std::vector<float> values(33, 0.5F);
        values[7] = std::nanf("");
        array(arrays, "lm_head.bias") = floats("lm_head.bias", {33}, std::move(values));
      },
      {"lm_head.bias holds nan at element 7"});
  refuse_arrays(
      [&](auto& arrays) {
        arrays.push_back(floats("lm_head.decoder.weight", {33, 32}, std::vector<float>(33 * 32)));
      },
      {"lm_head.decoder.weight differs from the embedding"});
  refuse_arrays(
      [&](auto& arrays) {
        auto twice = array(arrays, "esm.encoder.layer.0.LayerNorm.gamma");
        twice.name = "esm.encoder.layer.0.LayerNorm.weight";
        arrays.push_back(twice);
      },
      {"are names of the same array"});
  refuse_arrays(
      [&](auto& arrays) {
        for (auto& one : arrays)
          if (one.name.starts_with("esm.")) one.name = one.name.substr(4);
      },
      {"the encoder alone (EsmModel)"});
  refuse_arrays(
      [&](auto& arrays) { std::erase_if(arrays, [](const auto& one) { return one.name.starts_with("lm_head."); }); },
      {"no masked-LM head"});
}

TEST_F(ImportEsm2Refuses, RotaryFrequenciesOfAnotherTheta) {
  const std::string name = "esm.encoder.layer.*.attention.self.rotary_embeddings.inv_freq";
  refuse_arrays(
      [&](auto& arrays) {
        array(arrays, name) = floats(name, {8}, {1, .5F, .25F, .1F, .05F, .02F, .01F, .005F});
      },
      {"other rotary frequencies than those of theta = 10000"});
  std::vector<float> exact, rounded, coarse;
  for (int i = 0; i < 8; ++i) {
    exact.push_back(static_cast<float>(std::pow(10000.0, -i / 8.0)));
    rounded.push_back(float_from_float16(float16_from_float(exact.back())));
    coarse.push_back(static_cast<float>(BFloat16(exact.back())));
  }
  EXPECT_EQ(rounding_of(exact), FrequencyRounding::none);
  EXPECT_EQ(rounding_of(rounded), FrequencyRounding::float16);
  EXPECT_EQ(rounding_of(coarse), FrequencyRounding::coarser);
  refuse_arrays(
      [&](auto& arrays) {
        array(arrays, name).name = "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq";
        arrays.push_back(floats("esm.encoder.layer.1.attention.self.rotary_embeddings.inv_freq", {8}, rounded));
      },
      {"of some layers are rounded"});
}

TEST_F(ImportEsm2Refuses, DamagedAndIncompleteFolders) {
  expect_error<UserError>([&] { import(folder_ / "nothing"); }, {"there is no folder", "hf download"});
  auto source = copy("current");
  std::filesystem::resize_file(source / "model.safetensors", 90000);
  expect_error<DataError>([&] { import(source); }, {"model.safetensors", "truncated"});
  std::filesystem::rename(source / "model.safetensors", source / "pytorch_model.bin");
  expect_error<UserError>([&] { import(source); }, {"pytorch_model.bin only", "save_pretrained"});
  source = copy("current");
  std::ofstream(source / "config.json") << "{\"model_type\": ";
  expect_error<DataError>([&] { import(source); }, {"config.json is damaged"});
  source = copy("published");
  std::ofstream(source / "vocab.txt") << "<cls>\n<pad>\n<eos>\n<unk>\nA\n";
  expect_error<DataError>([&] { import(source); }, {"vocab.txt: token 4 is 'A' and ESM-2's is 'L'"});
}

TEST_F(ImportEsm2Refuses, ShardsThatAreNotThoseOfTheirIndex) {
  auto source = copy("published");
  std::filesystem::copy(kEsm2Golden / "current/model.safetensors", source);
  expect_error<UserError>([&] { import(source); }, {"holds both"});
  source = copy("published");
  std::filesystem::remove(source / "model-00002-of-00002.safetensors");
  expect_error<DataError>([&] { import(source); }, {"model-00002-of-00002.safetensors is missing"});
  const auto change_index = [&](const std::function<void(json&)>& change) {
    source = copy("published");
    auto index = read_json(source / "model.safetensors.index.json");
    change(index);
    std::ofstream(source / "model.safetensors.index.json") << index;
  };
  change_index([](json& index) { index.erase("weight_map"); });
  expect_error<DataError>([&] { import(source); }, {"weight_map"});
  change_index([](json& index) { index["weight_map"]["lm_head.bias"] = "../other.safetensors"; });
  expect_error<DataError>([&] { import(source); }, {"'../other.safetensors' as the file of lm_head.bias"});
  change_index([](json& index) { index["weight_map"].erase("lm_head.bias"); });
  expect_error<DataError>([&] { import(source); }, {"holds lm_head.bias, which", "does not list"});
  change_index([](json& index) { index["weight_map"]["lm_head.more"] = "model-00001-of-00002.safetensors"; });
  expect_error<DataError>([&] { import(source); }, {"does not hold lm_head.more"});
}

}  // namespace
}  // namespace lsd::tasks
