// SPDX-License-Identifier: Apache-2.0
// What a dump in halves says of values that do not fit: exactly how many there are, of every part.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "lsd/io/embedding_reader.h"
#include "lsd/tasks/dump_latents.h"
#include "support/temporary_folder.h"
#include "tiny_models.h"

namespace lsd::tasks {
namespace {

using lsd::testing::kTinyWidth;

// The largest half is 65504; up to 65520, the middle to what would come next, values are rounded down to it.
constexpr float kFirstThatOverflows = 65520.0F;

class DumpOverflowTest : public ::testing::Test {
 protected:
  // 409 residues in eight sequences, one of which is longer than a batch: 425 rows with the specials.
  void SetUp() override { testing::write_fasta(folder_ / "p.fasta", {30, 7, 55, 1, 90, 64, 12, 150}); }

  // The tiny model with a latent map of the test's own.
  void write_model(const std::function<void(std::span<float> weight, std::span<float> bias)>& change) const {
    const models::AutoencoderConfig config{
        .variant = "nm", .width = kTinyWidth, .heads = 2, .encoder_layers = 1, .decoder_layers = 1};
    const auto model = models::build_autoencoder(config);
    const auto& store = model->parameters();
    auto weights = testing::random_weights(store, 1);
    const auto part = [&](const std::string& name) {
      const auto* info = store.find(name);
      return std::span(weights).subspan(static_cast<std::size_t>(info->offset),
                                        static_cast<std::size_t>(info->shape.elements()));
    };
    change(part("latent.weight"), part("latent.bias"));
    io::CheckpointWriter writer(folder_ / "nm/checkpoints", 1);
    writer.begin(1);
    writer.write("model.safetensors", testing::named_weights(store, weights));
    writer.commit({.step = 1, .config = testing::settings_of_model(config)});
  }

  DumpLatentsConfig config(const std::string& element) const {
    DumpLatentsConfig config;
    config.features.autoencoder = (folder_ / "nm").string();
    config.features.capacity = 128;
    config.features.max_sequences = 4;
    config.input.fasta = (folder_ / "p.fasta").string();
    config.output.element = element;
    config.output.tokens_per_part = 150;
    return config;
  }
  io::EmbeddingReader dump(DumpLatentsConfig config, const std::string& name, int ranks = 1) const {
    config.output.directory = (folder_ / name).string();
    EXPECT_EQ(testing::run_on_ranks(ranks, [&](Runtime& runtime) { return dump_latents(config, runtime); }),
              Outcome::done);
    return io::EmbeddingReader(config.output.directory);
  }

  // Of the values of a part's records, as `counts` judges the bytes of each.
  template <class Element>
  static std::int64_t count(const io::EmbeddingReader& reader, const io::EmbeddingPart& part,
                            const std::function<bool(Element)>& counts) {
    std::int64_t sum = 0;
    for (auto record = part.first_record; record < part.first_record + part.records; ++record) {
      const auto bytes = reader.rows(record, 0, reader.tokens(record));
      std::vector<Element> values(bytes.size() / sizeof(Element));
      std::memcpy(values.data(), bytes.data(), bytes.size());
      sum += std::ranges::count_if(values, counts);
    }
    return sum;
  }

  testing::TemporaryFolder folder_;
};

// Every latent is the bias: 6 of its 16 values do not fit, in each of 425 rows.
TEST_F(DumpOverflowTest, IsCountedByHandAndTold) {
  write_model([](std::span<float> weight, std::span<float> bias) {
    std::ranges::fill(weight, 0.0F);
    constexpr std::array<float, 16> kBias = {0.0F,     1.0F,      -2.0F,    65504.0F, -65504.0F, 65505.0F,
                                             65519.5F, -65519.5F, 0.5F,     1e-8F,  // these fit
                                             65520.0F, -65520.0F, 65536.0F, 1e5F,     -1e5F,     1e6F};
    std::ranges::copy(kBias, bias.begin());
  });
  ::testing::internal::CaptureStderr();
  const auto halves = dump(config("float16"), "halves");
  const auto told = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(halves.manifest().overflows(), 425 * 6);
  EXPECT_THAT(told, ::testing::HasSubstr("2550 values do not fit float16"));
  EXPECT_EQ(dump(config("float32"), "floats").manifest().overflows(), 0);
}

// 65536 times the latents of usual weights: what lies beyond 1, of either sign, overflows.
TEST_F(DumpOverflowTest, IsThatOfTheValuesInAFloatDump) {
  write_model([](std::span<float> weight, std::span<float> bias) {
    for (auto& value : weight) value *= 65536.0F;
    for (auto& value : bias) value *= 65536.0F;
  });
  for (const auto* activation : {"float32", "bfloat16"}) {
    SCOPED_TRACE(activation);
    auto half = config("float16"), single = config("float32");
    half.features.activation = single.features.activation = activation;
    const auto halves = dump(half, fmt::format("halves_{}", activation), 2),
               floats = dump(single, fmt::format("floats_{}", activation));
    ASSERT_EQ(halves.manifest().parts.size(), floats.manifest().parts.size());
    ASSERT_GT(halves.manifest().parts.size(), 2U);
    std::int64_t sum = 0;
    for (const auto& part : halves.manifest().parts) {
      SCOPED_TRACE(part.name);
      const auto beyond = count<float>(floats, part, [](float x) { return std::abs(x) >= kFirstThatOverflows; });
      EXPECT_EQ(part.overflows, beyond);
      EXPECT_EQ(count<std::uint16_t>(halves, part, [](std::uint16_t bits) { return (bits & 0x7FFFU) == 0x7C00U; }),
                beyond)
          << "stored as infinity";
      sum += beyond;
    }
    EXPECT_EQ(halves.manifest().overflows(), sum);
    EXPECT_GT(sum, 0);
    EXPECT_LT(sum, 425 * kTinyWidth) << "some values fit";
  }
}

}  // namespace
}  // namespace lsd::tasks
