// SPDX-License-Identifier: Apache-2.0
// The bodies of the CUDA attention kernels, run on the host thread by thread, against the reference backend.
#include <gtest/gtest.h>

#include <cstring>
#include <numbers>
#include <numeric>

#include "backends/emulated_attention.h"
#include "support/expect_error.h"

namespace lsd::testing {
namespace {

constexpr double kFloat32 = 5e-6;  // as on any backend

class EmulatedAttention : public ::testing::TestWithParam<Case> {};

TEST_P(EmulatedAttention, FollowsTheReferenceInFloat32) {
  expect_same(by_kernels(GetParam(), DType::float32, {}), by_reference(GetParam(), DType::float32), kFloat32);
}

TEST_P(EmulatedAttention, FollowsTheReferenceInBfloat16) {
  ExpectedWithRounding(GetParam()).expect(by_kernels(GetParam(), DType::bfloat16, {}));
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const int head_width : {16, 24, 32, 64, 128})
    out.push_back({"odd_lengths", {1, 2, 63, 64, 65, 130}, head_width, 2, 13});
  for (const int head_width : {2, 12, 44, 90}) out.push_back({"odd_widths", {65, 3}, head_width, 2, 1});
  out.push_back({"one_row", {1}, 64, 1, 0});
  out.push_back({"several_tiles", {300}, 64, 1, 7});
  out.push_back({"rounded_frequencies", {130}, 32, 1, 3, 1.0, {.float16 = true}});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Shapes, EmulatedAttention, ::testing::ValuesIn(cases()), [](const auto& its) {
  return its.param.label + "_of_width_" + std::to_string(its.param.head_width);
});

// A missing barrier or a wait for copies left out shows in one of the orders of threads; a task left out or done with
// another's inputs in one of the numbers of blocks.
class EmulatedAttentionOrder : public ::testing::TestWithParam<Case> {};

TEST_P(EmulatedAttentionOrder, ChangesNoBit) {
  for (const DType type : {DType::float32, DType::bfloat16})
    expect_equal_bits(by_kernels(GetParam(), type, {.blocks = 2, .order = ThreadOrder::descending}),
                      by_kernels(GetParam(), type, {.blocks = 5, .order = ThreadOrder::ascending}));
}

INSTANTIATE_TEST_SUITE_P(Shapes, EmulatedAttentionOrder,
                         ::testing::Values(Case{"wide", {130, 3}, 24, 1, 1}, Case{"wide", {130, 70}, 64, 1, 0},
                                           Case{"wide", {97}, 128, 1, 2}, Case{"narrow", {65, 3}, 12, 2, 1}),
                         [](const auto& its) { return its.param.label + "_" + std::to_string(its.param.head_width); });

// Scores up to several hundreds: the running maximum must hold, and weights that vanish must vanish.
TEST(EmulatedAttentionRange, HoldsForPeakedSoftmax) {
  const Case peaked{"peaked", {130, 64}, 32, 1, 0, 6.0};
  expect_same(by_kernels(peaked, DType::float32, {}), by_reference(peaked, DType::float32), 1e-4);
  ExpectedWithRounding(peaked).expect(by_kernels(peaked, DType::bfloat16, {}));
}

// Every score is -224, so powers of (0 - log_sum_exp), which keys behind the end would have, are infinite.
TEST(EmulatedAttentionRange, HoldsForScoresFarBelowZero) {
  const int rows = 70, head_width = 16;
  const auto memory = backends::make_reference_backend();
  for (const DType type : {DType::float32, DType::bfloat16}) {
    Operands o(*memory, type, 5);
    const auto layout = o.layout({rows}, 0);
    const auto qkv = o.normal("qkv", type, {rows, 3 * head_width}), grad_out = o.normal("grad_out", type, {rows, 16});
    visit_dtype(type, [&]<class T>(TypeTag<T>) {
      auto* values = const_cast<T*>(qkv.template data<T>());
      for (int row = 0; row < rows; ++row)
        for (int i = 0; i < head_width; ++i) {
          const float value = i % (head_width / 2) == 0 ? 0.0F : 8.0F;  // all but the pair that turns
          values[row * 3 * head_width + i] = T(value);
          values[row * 3 * head_width + head_width + i] = T(-value);
        }
    });
    const auto outputs = [&](const std::string& name, bool by_reference) {
      const auto out = o.output(name + "out", type, {rows, head_width});
      const auto log_sum_exp = o.output(name + "log_sum_exp", DType::float32, {1, rows});
      const auto grad_qkv = o.output(name + "grad_qkv", type, {rows, 3 * head_width});
      const AttentionForward forward{qkv, layout, out, log_sum_exp, 1, 1e38F};
      const AttentionBackward backward{grad_out, qkv, out, log_sum_exp, layout, grad_qkv, 1, 1e38F};
      if (by_reference) {
        memory->attention().run(forward);
        memory->attention().run(backward);
      } else {
        emulate(forward, {});
        emulate(backward, {});
      }
      const auto results = o.results();
      const auto floats = [&](const char* what) {
        return to_floats(results.at(name + what).bytes, results.at(name + what).type);
      };
      return Outputs{floats("out"), floats("log_sum_exp"), floats("grad_qkv")};
    };
    const auto expected = outputs("reference_", true), actual = outputs("kernels_", false);
    EXPECT_NEAR(expected.log_sum_exp[0], -224.0F + std::log(70.0F), 0.01);
    EXPECT_LE(norm_ratio(actual.out, expected.out), 1e-4);
    EXPECT_LE(norm_ratio(actual.log_sum_exp, expected.log_sum_exp), 1e-5);
    for (const float value : actual.grad_qkv) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(EmulatedAttentionRange, ForwardNeedsNoLogSumExp) {
  const auto memory = backends::make_reference_backend();
  Operands o(*memory, DType::bfloat16, 3);
  const auto layout = o.layout({70}, 2);
  const auto qkv = o.normal("qkv", DType::bfloat16, {72, 96});
  const auto out = o.output("out", DType::bfloat16, {72, 32}), again = o.output("again", DType::bfloat16, {72, 32});
  const auto log_sum_exp = o.output("log_sum_exp", DType::float32, {1, 72});
  emulate(AttentionForward{qkv, layout, out, log_sum_exp, 1}, {});
  emulate(AttentionForward{qkv, layout, again, {}, 1}, {});
  EXPECT_EQ(std::memcmp(out.raw(), again.raw(), static_cast<std::size_t>(out.bytes())), 0);
}

// The angle's error must not grow with the position: 36,000 positions of the fastest and the slowest pair.
TEST(EmulatedAttentionRange, AnglesAreAccurateFarFromTheStart) {
  attention::Problem<float> p;
  EmulatedBlock block(32, 16, ThreadOrder::ascending);
  double worst = 0.0;
  block.run(1, [&](EmulatedThread& t) {
    if (t.index() != 0) return;
    for (const double frequency : {1.0, 0.7498942093324559, 1.3335214321633241e-4}) {
      p.turns[0] = frequency / (2.0 * std::numbers::pi);
      for (int position = 0; position < 36000; position += 7) {
        const attention::Rotation rotation(t, p, position, 0);
        worst = std::max(worst, std::abs(static_cast<double>(rotation.cosine) - std::cos(position * frequency)));
        worst = std::max(worst, std::abs(static_cast<double>(rotation.sine) - std::sin(position * frequency)));
      }
    }
  });
  EXPECT_LE(worst, 3e-7);
}

std::vector<attention::Tile> tiles_of(const std::vector<int>& lengths, int tile_rows, int spare) {
  const auto memory = backends::make_reference_backend();
  Operands o(*memory, DType::float32, 1);
  const auto layout = o.layout(lengths, 0, spare);
  attention::Counters counters;
  attention::Problem<float> p;
  p.offsets = layout.offsets.data<std::int32_t>();
  p.order = layout.sequence_order.data<std::int32_t>();
  p.max_sequences = static_cast<std::int32_t>(layout.max_sequences());
  p.tile_rows = tile_rows;
  std::vector<attention::Tile> tiles(
      static_cast<std::size_t>(attention::tile_bound(layout.rows(), layout.max_sequences(), tile_rows)));
  p.tiles = tiles.data();
  p.counters = &counters;
  EmulatedBlock block(attention::kPrepareThreads, 4 * (attention::kPrepareThreads + 1), ThreadOrder::descending);
  block.run(1, [&](EmulatedThread& t) { attention::list_tiles(t, p, reinterpret_cast<std::int32_t*>(t.shared())); });
  tiles.resize(static_cast<std::size_t>(counters.tiles));
  return tiles;
}

TEST(EmulatedAttentionTiles, StandLongestSequenceFirst) {
  const auto tiles = tiles_of({3, 130, 64}, 64, 2);
  ASSERT_EQ(tiles.size(), 5U);
  const int expected[5][3] = {{3, 130, 0}, {3, 130, 64}, {3, 130, 128}, {133, 64, 0}, {0, 3, 0}};
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    EXPECT_EQ(tiles[i].begin, expected[i][0]);
    EXPECT_EQ(tiles[i].length, expected[i][1]);
    EXPECT_EQ(tiles[i].start, expected[i][2]);
  }
}

// More sequences than the block has threads, and a tile for every 64 rows of each.
TEST(EmulatedAttentionTiles, CoverEveryRowOnce) {
  std::vector<int> lengths;
  for (int i = 0; i < 700; ++i) lengths.push_back(1 + i * 37 % 400);
  std::vector<int> covered(static_cast<std::size_t>(std::accumulate(lengths.begin(), lengths.end(), 0)));
  int longest = 400;
  for (const auto& tile : tiles_of(lengths, 64, 5)) {
    EXPECT_LE(tile.length, longest);
    longest = tile.length;
    for (int row = tile.start; row < std::min(tile.start + 64, tile.length); ++row)
      ++covered[static_cast<std::size_t>(tile.begin + row)];
  }
  EXPECT_TRUE(std::all_of(covered.begin(), covered.end(), [](int count) { return count == 1; }));
}

TEST(EmulatedAttentionErrors, WideHeadsAreRefusedInWords) {
  expect_error<UserError>([] { attention::visit_head_width(130, [](auto) {}); }, {"130", "128", "cpu backend"});
}

}  // namespace
}  // namespace lsd::testing
