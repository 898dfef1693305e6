// SPDX-License-Identifier: Apache-2.0
// Checkpoints of transformers (tests/golden/make_esm2_checkpoints.py) become ours, and embed like transformers does.
#include "lsd/tasks/import_esm2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "import_esm2_support.h"
#include "lsd/io/checkpoint.h"
#include "lsd/tasks/probe.h"
#include "lsd/tensor/dtype.h"
#include "lsd/train/frozen_model.h"
#include "models/model_run.h"

namespace lsd::tasks {
namespace {

using testing::expect_error;
using testing::json;
using testing::kEsm2Golden;
using testing::read_json;
using testing::run_task;

class ImportEsm2 : public testing::Esm2ImportTest {};

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

TEST_F(ImportEsm2, EmbeddingsEqualThoseOfTransformers) {
  const auto golden = read_json(kEsm2Golden / "current/expected.json");
  const auto checkpoint = import(kEsm2Golden / "current");
  EXPECT_LT(relative_difference(embeddings(checkpoint, golden), 32, golden["rows"], golden["hidden"]), 2e-6);
}

TEST_F(ImportEsm2, LogitsEqualThoseOfTransformers) {
  const auto golden = read_json(kEsm2Golden / "current/expected.json");
  const auto backend = backends::make_backend("reference", {.threads = 1});
  const train::FrozenEncoder encoder(*backend, import(kEsm2Golden / "current"));
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

// bfloat16 in two shards, with token dropout and rotary frequencies rounded to float16.
TEST_F(ImportEsm2, EmbeddingsOfThePublishedLayoutEqualThoseOfTransformers) {
  const auto golden = read_json(kEsm2Golden / "published/expected.json");
  const auto checkpoint = import(kEsm2Golden / "published");
  for (const std::string backend : {"cpu", "reference"})
    EXPECT_LT(relative_difference(embeddings(checkpoint, golden, backend), 32, golden["rows"], golden["hidden"]), 2e-6);
  const auto source = json::parse(io::open_checkpoint_at(checkpoint).state.extra_json).at("source");
  EXPECT_EQ(source["rotary_frequencies"], "float16");
  EXPECT_EQ(source["elements"], json::array({"BF16"}));
  EXPECT_THAT(source["unused"].get<std::vector<std::string>>(),
              ::testing::IsSupersetOf({"esm.contact_head.regression.weight", "esm.embeddings.position_ids",
                                       "esm.embeddings.position_embeddings.weight"}));
  EXPECT_EQ(source["files"].size(), 4U);
}

TEST_F(ImportEsm2, TheCheckpointSaysWhatItWasMadeOf) {
  const auto state = io::open_checkpoint_at(import(kEsm2Golden / "current", "a")).state;
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
  const auto model = import(kEsm2Golden / "current") / "checkpoints/checkpoint-00000000/model.safetensors";
  const auto whole = read_text_file(model);
  const auto time = std::filesystem::last_write_time(model);
  import(kEsm2Golden / "current");
  EXPECT_EQ(std::filesystem::last_write_time(model), time);
  std::filesystem::resize_file(model, 1000);
  import(kEsm2Golden / "current");
  EXPECT_TRUE(read_text_file(model) == whole);
}

TEST_F(ImportEsm2, Float16AndFloat64SourcesAndATiedHeadGiveTheSameValues) {
  const auto exact = io::open_checkpoint_at(import(kEsm2Golden / "current", "exact"));
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
  const auto wanted = io::open_checkpoint_at(import(kEsm2Golden / "current", "a")).model().checksum();
  const auto source = changed(
      [](auto& arrays) { array(arrays, "esm.embeddings.word_embeddings.weight").name = "lm_head.decoder.weight"; });
  EXPECT_EQ(io::open_checkpoint_at(import(source, "b")).model().checksum(), wanted);
}

TEST_F(ImportEsm2, IsProbedAndTrainedOn) {
  const auto esm2 = import(kEsm2Golden / "published");
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
  training.run.directory = (folder_ / "other").string();
  training.model.heads = 2;
  expect_error<UserError>([&] { run_task(train_autoencoder, training, 1, "cpu"); },
                          {"model.heads is 2 here and 4 where", "run.init_from"});
}

}  // namespace
}  // namespace lsd::tasks
