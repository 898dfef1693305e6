// SPDX-License-Identifier: Apache-2.0
// Checkpoints of transformers (tests/golden/make_esm2_checkpoints.py) become ours, and embed like transformers does.
#include "lsd/tasks/import_esm2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <list>
#include <nlohmann/json.hpp>

#include "import_esm2/esm2_names_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/io/checkpoint.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/tasks/probe.h"
#include "lsd/tensor/dtype.h"
#include "lsd/train/frozen_model.h"
#include "models/model_run.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::run_task;

const std::filesystem::path kGolden = std::filesystem::path(LSD_TESTS_FOLDER) / "golden/esm2_checkpoints";

json read_json(const std::filesystem::path& file) {
  return json::parse(read_text_file(file));
}

// The shown rows' largest difference over the largest magnitude.
double relative_difference(std::span<const float> ours, std::int64_t columns, const json& rows, const json& theirs) {
  double difference = 0.0, scale = 0.0;
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t c = 0; c < static_cast<std::size_t>(columns); ++c) {
      const auto wanted = theirs.at(r * static_cast<std::size_t>(columns) + c).get<double>();
      const auto found = ours[rows[r].get<std::size_t>() * static_cast<std::size_t>(columns) + c];
      difference = std::max(difference, std::abs(wanted - found));
      scale = std::max(scale, std::abs(wanted));
    }
  return difference / scale;
}

class ImportEsm2 : public ::testing::Test {
 protected:
  std::filesystem::path import(const std::filesystem::path& source, const std::string& name = "out") const {
    ImportEsm2Config config;
    config.source.directory = source.string();
    config.output.directory = (folder_ / name).string();
    EXPECT_EQ(run_task(import_esm2, config), Outcome::done);
    return folder_ / name;
  }

  // Copies a golden checkpoint, to be changed.
  std::filesystem::path copy(const std::string& golden) const {
    std::filesystem::remove_all(folder_ / "copy");
    std::filesystem::copy(kGolden / golden, folder_ / "copy");
    return folder_ / "copy";
  }

  void refuse_config(const std::string& key, const json& value, std::initializer_list<std::string> words) const {
    SCOPED_TRACE(key);
    const auto source = copy("current");
    auto config = read_json(source / "config.json");
    if (value.is_discarded())
      config.erase(key);
    else
      config[key] = value;
    std::ofstream(source / "config.json") << config;
    expect_error<Error>([&] { import(source); }, words);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  }

  // Writes current's arrays anew after `change`; their bytes live in the golden file and in storage_.
  std::filesystem::path changed(const std::function<void(std::vector<io::NamedArray>&)>& change) {
    const auto source = copy("current");
    const io::SafetensorsFile golden(kGolden / "current/model.safetensors");
    auto arrays = golden.arrays();
    change(arrays);
    io::write_safetensors(source / "model.safetensors", arrays);
    return source;
  }
  void refuse_arrays(const std::function<void(std::vector<io::NamedArray>&)>& change,
                     std::initializer_list<std::string> words) {
    const auto source = changed(change);
    expect_error<DataError>([&] { import(source); }, words);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  }

  static io::NamedArray& array(std::vector<io::NamedArray>& arrays, const std::string& name) {
    const auto found = std::ranges::find(arrays, name, &io::NamedArray::name);
    if (found == arrays.end()) throw std::runtime_error("no array " + name);
    return *found;
  }
  io::NamedArray floats(const std::string& name, std::vector<std::int64_t> shape, std::vector<float> values) {
    storage_.push_back(std::move(values));
    return io::named_floats(name, std::move(shape), storage_.back());
  }

  // Embeddings by the program that users take, of all sequences one behind the other.
  std::vector<float> embeddings(const std::filesystem::path& checkpoint, const json& golden) const {
    std::ofstream fasta(folder_ / "in.fasta");
    for (const auto& sequence : golden["sequences"]) fasta << ">p\n" << sequence.get<std::string>() << '\n';
    fasta.close();
    DumpLatentsConfig config;
    config.features.autoencoder = checkpoint.string();
    config.input.fasta = (folder_ / "in.fasta").string();
    config.output.directory = (folder_ / "dump").string();
    config.output.element = "float32";
    run_task(dump_latents, config, 1, "cpu");
    const io::EmbeddingReader reader(folder_ / "dump");
    std::vector<float> values;
    for (std::int64_t record = 0; record < reader.size(); ++record) {
      const auto bytes = reader.rows(record, 0, reader.tokens(record));
      const auto begin = values.size();
      values.resize(begin + bytes.size() / sizeof(float));
      std::memcpy(values.data() + begin, bytes.data(), bytes.size());
    }
    std::filesystem::remove_all(folder_ / "dump");
    return values;
  }

  testing::TemporaryFolder folder_;
  std::list<std::vector<float>> storage_;
};

TEST_F(ImportEsm2, EmbeddingsEqualThoseOfTransformers) {
  const auto golden = read_json(kGolden / "current/expected.json");
  const auto checkpoint = import(kGolden / "current");
  EXPECT_LT(relative_difference(embeddings(checkpoint, golden), 32, golden["rows"], golden["hidden"]), 2e-6);
}

TEST_F(ImportEsm2, LogitsEqualThoseOfTransformers) {
  const auto golden = read_json(kGolden / "current/expected.json");
  const auto backend = backends::make_backend("reference", {.threads = 1});
  const train::FrozenEncoder encoder(*backend, import(kGolden / "current"));
  testing::PackedBatch::Sequences sequences;
  for (const auto& text : golden["sequences"]) {
    sequences.emplace_back();
    for (const char letter : text.get<std::string>())
      sequences.back().push_back(static_cast<std::int32_t>(
          std::ranges::find(data::kTokens, std::string_view(&letter, 1)) - data::kTokens.begin()));
  }
  testing::PackedBatch packed(sequences, 192, 3);
  testing::ModelStep run(*backend);
  auto step = run.context();
  const auto z = encoder.model().encode(step, packed.batch());
  const auto logits = encoder.model().decode(step, packed.batch(), z);
  EXPECT_LT(relative_difference(logits.span<float>(), 33, golden["rows"], golden["logits"]), 2e-6);
}

// bfloat16 in two shards, with token dropout; what is left is the rounding of the rotary frequencies (docs/esm2.md).
TEST_F(ImportEsm2, ThePublishedLayoutIsRead) {
  const auto golden = read_json(kGolden / "published/expected.json");
  const auto checkpoint = import(kGolden / "published");
  EXPECT_LT(relative_difference(embeddings(checkpoint, golden), 32, golden["rows"], golden["hidden"]), 3e-4);
  const auto source = json::parse(io::open_checkpoint_at(checkpoint).state.extra_json).at("source");
  EXPECT_EQ(source["rotary_frequencies"], "float16");
  EXPECT_EQ(source["elements"], json::array({"BF16"}));
  EXPECT_THAT(source["unused"].get<std::vector<std::string>>(),
              ::testing::IsSupersetOf({"esm.contact_head.regression.weight", "esm.embeddings.position_ids",
                                       "esm.embeddings.position_embeddings.weight"}));
  EXPECT_EQ(source["files"].size(), 4U);
}

TEST_F(ImportEsm2, TheCheckpointSaysWhatItWasMadeOf) {
  const auto state = io::open_checkpoint_at(import(kGolden / "current", "a")).state;
  EXPECT_EQ(state.config.at("model.variant"), "mlm");
  EXPECT_EQ(state.config.at("model.gelu"), "erf");
  EXPECT_EQ(state.config.at("model.heads"), "2");
  EXPECT_EQ(state.config.at("masking.token_dropout"), "false");
  EXPECT_EQ(io::open_checkpoint_at(import(copy("current"), "b")).state.fingerprints, state.fingerprints);
  for (const auto* file : {"state.json", "model.safetensors"})
    EXPECT_EQ(read_text_file(folder_ / "a/checkpoints/checkpoint-00000000" / file),
              read_text_file(folder_ / "b/checkpoints/checkpoint-00000000" / file));
  const auto source = changed(
      [&](auto& arrays) { array(arrays, "lm_head.bias") = floats("lm_head.bias", {33}, std::vector<float>(33)); });
  EXPECT_NE(io::open_checkpoint_at(import(source, "c")).state.fingerprints, state.fingerprints);
  expect_error<UserError>([&] { import(source, "a"); }, {"holds another run"});
}

TEST_F(ImportEsm2, TheSameCommandAgainIsDoneAlreadyAndMendsDamage) {
  const auto model = import(kGolden / "current") / "checkpoints/checkpoint-00000000/model.safetensors";
  const auto whole = read_text_file(model);
  const auto time = std::filesystem::last_write_time(model);
  import(kGolden / "current");
  EXPECT_EQ(std::filesystem::last_write_time(model), time);
  std::filesystem::resize_file(model, 1000);
  import(kGolden / "current");
  EXPECT_TRUE(read_text_file(model) == whole);
}

TEST_F(ImportEsm2, Float16AndFloat64SourcesAndATiedHeadGiveTheSameValues) {
  const auto exact = io::open_checkpoint_at(import(kGolden / "current", "exact"));
  std::list<std::vector<std::uint16_t>> halves;
  std::list<std::vector<double>> doubles;
  const auto source = changed([&](auto& arrays) {
    for (auto& one : arrays) {
      std::vector<float> values(one.bytes.size() / sizeof(float));
      std::memcpy(values.data(), one.bytes.data(), one.bytes.size());
      if (one.shape.size() == 2) {
        halves.emplace_back();
        for (const auto value : values) halves.back().push_back(float16_from_float(value));
        one.type = io::ArrayType::float16;
        one.bytes = std::as_bytes(std::span(halves.back()));
      } else {
        doubles.emplace_back(values.begin(), values.end());
        one.type = io::ArrayType::float64;
        one.bytes = std::as_bytes(std::span(doubles.back()));
      }
    }
    auto decoder = array(arrays, "esm.embeddings.word_embeddings.weight");
    decoder.name = "lm_head.decoder.weight";
    arrays.push_back(decoder);
  });
  const auto half = io::open_checkpoint_at(import(source, "half"));
  for (const auto& wanted : exact.model().arrays()) {
    const auto found = half.model().find(wanted.name)->as<float>();
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto value = wanted.as<float>()[i];
      EXPECT_EQ(found[i], wanted.shape.size() == 2 ? float_from_float16(float16_from_float(value)) : value)
          << wanted.name;
    }
  }
}

TEST_F(ImportEsm2, OneOfTheTiedNamesIsEnough) {
  const auto wanted = io::open_checkpoint_at(import(kGolden / "current", "a")).model().checksum();
  const auto source = changed(
      [](auto& arrays) { array(arrays, "esm.embeddings.word_embeddings.weight").name = "lm_head.decoder.weight"; });
  EXPECT_EQ(io::open_checkpoint_at(import(source, "b")).model().checksum(), wanted);
}

TEST_F(ImportEsm2, IsProbedAndTrainedOn) {
  const auto esm2 = import(kGolden / "published");
  std::ofstream task(folder_ / "task.csv");
  task << "id,sequence,label,split\n";
  for (int i = 0; i < 60; ++i) {
    const std::string sequence{i % 2 == 0 ? 'W' : 'G', data::kTokens[4 + i % 20][0], data::kTokens[4 + i / 20][0], 'A'};
    task << 'q' << i << ',' << sequence << ',' << i % 2 << ','
         << (i < 40   ? "train"
             : i < 50 ? "valid"
                      : "test")
         << '\n';
  }
  task.close();
  ProbeConfig config;
  config.run.directory = (folder_ / "probe").string();
  config.task.file = (folder_ / "task.csv").string();
  config.task.kind = "binary";
  config.features.autoencoder = esm2.string();
  config.sweep.representations = {"encoder"};
  config.sweep.seeds = {1};
  config.head.hidden = 8;
  config.head.epochs = 30;
  config.head.batch = 8;
  config.head.learning_rate = 1e-2;
  EXPECT_EQ(run_task(probe, config, 1, "cpu"), Outcome::done);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "probe/DONE"));

  const auto shards = testing::make_shards(folder_ / "data", 30, 20);
  auto training = testing::small_autoencoder("mlm", shards, folder_ / "tuned");
  ConfigSchema schema = describe(training);
  schema.read_file(esm2 / "model.cfg");
  training.run.init_from = esm2.string();
  EXPECT_EQ(run_task(train_autoencoder, training, 1, "cpu"), Outcome::done);
}

TEST_F(ImportEsm2, OtherModelsAreRefusedByTheirConfig) {
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

TEST_F(ImportEsm2, ArraysThatDoNotFitAreNamed) {
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

TEST_F(ImportEsm2, RotaryFrequenciesAreThoseOfTheta10000) {
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

TEST_F(ImportEsm2, DamagedAndIncompleteFoldersAreRefused) {
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

TEST_F(ImportEsm2, ShardsMustBeThoseOfTheirIndex) {
  auto source = copy("published");
  std::filesystem::copy(kGolden / "current/model.safetensors", source);
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
