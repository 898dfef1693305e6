// SPDX-License-Identifier: Apache-2.0
// The attention kernels of Hopper's warp-group products, run on the host thread by thread, against the reference
// backend; and the emulation itself against hand-made layouts and injected mistakes.
#include "backends/cuda/attention_wgmma_setup_internal.h"
#include "backends/emulated_attention.h"
#include "backends/emulated_warp_group.h"
#include "support/expect_error.h"

namespace lsd::testing {
namespace {

using attention::AttentionKernel;

template <class Shape, class Body>
void run_groups(Run run, const Body& body) {
  EmulatedWarpGroups groups(Shape::kThreads);
  block_of<Shape>(run).run(run.blocks, [&](EmulatedThread& thread) {
    WarpGroupThread t(thread, groups);
    body(t);
  });
  groups.check_idle();
}

std::vector<attention::Tile> scratch_of(ConstTensorView qkv, const PackedLayout& layout, int heads, bool backward) {
  const auto plan = attention::scratch_plan(qkv, layout, heads, backward);
  return std::vector<attention::Tile>(static_cast<std::size_t>(plan.total) / sizeof(attention::Tile),
                                      attention::Tile{-1, -1, -1, -1});
}

void emulate_wgmma(const AttentionForward& op, AttentionKernel kernel, Run run) {
  auto scratch = scratch_of(op.qkv, op.layout, op.heads, false);
  auto p = attention::make_problem<BFloat16>(op, scratch.data());
  ASSERT_TRUE(attention::wgmma_takes_forward(p));
  attention::visit_wgmma_forward(p.head_width, kernel, [&]<class Shape>(attention::ShapeTag<Shape>) {
    p.tile_rows = Shape::kRows;
    prepare(p, false, run);
    run_groups<Shape>(run, [&](WarpGroupThread& t) { attention::wgmma_forward_body<Shape>(t, p); });
  });
}

// Heads of other widths than 64 are the other kernels' affair: the reference does them here.
void emulate_wgmma(Backend& reference, const AttentionBackward& op, Run run) {
  auto scratch = scratch_of(op.qkv, op.layout, op.heads, true);
  auto p = attention::make_problem<BFloat16>(op, scratch.data());
  if (!attention::wgmma_takes_backward(p)) return reference.attention().run(op);
  using Keys = attention::WgmmaBackwardShape<Owner::keys>;
  using Queries = attention::WgmmaBackwardShape<Owner::queries>;
  p.tile_rows = Keys::kRows;
  prepare(p, true, run);
  run_groups<Keys>(run, [&](WarpGroupThread& t) { attention::wgmma_backward_body<Keys>(t, p); });
  run_groups<Queries>(run, [&](WarpGroupThread& t) { attention::wgmma_backward_body<Queries>(t, p); });
}

Outputs by_wgmma(const Case& c, AttentionKernel kernel, Run run) {
  return run_both(
      c, DType::bfloat16, [&](Backend&, const AttentionForward& op) { emulate_wgmma(op, kernel, run); },
      [&](Backend& b, const AttentionBackward& op) { emulate_wgmma(b, op, run); });
}

class EmulatedWgmma : public ::testing::TestWithParam<Case> {};

TEST_P(EmulatedWgmma, FollowsTheReference) {
  const ExpectedWithRounding expected(GetParam());
  expected.expect(by_wgmma(GetParam(), AttentionKernel::wgmma, {}));
  if (GetParam().head_width > 64) return;  // there is one kernel
  expected.expect(by_wgmma(GetParam(), AttentionKernel::wgmma_wide, {}));
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const int head_width : {40, 64, 72, 128})
    out.push_back({"odd_lengths", {1, 2, 63, 64, 65, 129, 200}, head_width, 2, 13});
  out.push_back({"one_row", {1}, 64, 1, 0});
  out.push_back({"one_long", {1024}, 64, 1, 7});
  out.push_back({"hundreds", std::vector<int>(150, 3), 64, 1, 1});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Shapes, EmulatedWgmma, ::testing::ValuesIn(cases()), [](const auto& its) {
  return its.param.label + "_of_width_" + std::to_string(its.param.head_width);
});

// A missing barrier or wait shows in one of the orders of threads; a task left out or done with another's inputs in one
// of the numbers of blocks.
TEST(EmulatedWgmmaOrder, ChangesNoBit) {
  for (const int head_width : {48, 64, 128}) {
    const Case c{"order", {130, 3, 64, 20, 200}, head_width, 2, 1};
    const auto expected = by_wgmma(c, AttentionKernel::wgmma, {.blocks = 2, .order = ThreadOrder::ascending});
    for (const auto order : {ThreadOrder::descending, ThreadOrder::groups_in_turn})
      expect_equal_bits(by_wgmma(c, AttentionKernel::wgmma, {.blocks = 3, .order = order}), expected);
  }
}

// Scores up to a hundred, so that the largest score grows by more than kLateBy again and again.
TEST(EmulatedWgmmaRange, HoldsForPeakedSoftmax) {
  const Case peaked{"peaked", {300, 64}, 64, 1, 0, 3.0};
  const ExpectedWithRounding expected(peaked);
  for (const auto kernel : {AttentionKernel::wgmma, AttentionKernel::wgmma_wide})
    expected.expect(by_wgmma(peaked, kernel, {}));
}

TEST(WgmmaChoice, FollowsTheNameAndTheGpu) {
  EXPECT_EQ(attention::attention_kernel("", 90, true), AttentionKernel::wgmma);
  EXPECT_EQ(attention::attention_kernel("", 80, true), AttentionKernel::mma);
  EXPECT_EQ(attention::attention_kernel("", 100, true), AttentionKernel::mma);  // later chips have other instructions
  EXPECT_EQ(attention::attention_kernel("mma", 90, true), AttentionKernel::mma);
  EXPECT_EQ(attention::attention_kernel("wgmma_wide", 90, true), AttentionKernel::wgmma_wide);
  expect_error<UserError>([] { attention::attention_kernel("wgmma", 80, true); }, {"9.0", "8.0", "LSD_CUDA_ATTENTION"});
  EXPECT_EQ(attention::attention_kernel("", 90, false), AttentionKernel::mma);
  expect_error<UserError>([] { attention::attention_kernel("wgmma", 90, false); }, {"sm_90a", "LSD_CUDA_ATTENTION"});
  expect_error<UserError>([] { attention::attention_kernel("fast", 90, true); }, {"fast", "wgmma_wide"});
}

// The PTX manual's figures: in the K-major tile element (1, 8) stands in row 1 at place 1 ^ 1, in the MN-major one the
// first element of the second block of 64 columns one leading offset further.
TEST(EmulatedWgmmaDescriptor, FollowsTheManual) {
  const EmulatedDescriptor d(std::uint64_t{0x4000 >> 4U} | std::uint64_t{0x2000 >> 4U} << 16U |
                             std::uint64_t{1024 >> 4U} << 32U | std::uint64_t{1} << 62U);
  EXPECT_EQ(d.address(0, 0, true), 0x4000U);
  EXPECT_EQ(d.address(1, 8, true), 0x4000U + 128U);
  EXPECT_EQ(d.address(1, 0, true), 0x4000U + 128U + 16U);
  EXPECT_EQ(d.address(8, 3, true), 0x4000U + 1024U + 6U);
  EXPECT_EQ(d.address(64, 0, false), 0x6000U);
  EXPECT_EQ(d.address(1, 9, false), 0x4000U + 1024U + 128U + 16U + 2U);
  expect_error<InternalError>([] { (void)EmulatedDescriptor(std::uint64_t{0x4080 >> 4U} | std::uint64_t{1} << 62U); },
                              {"1,024"});
}

}  // namespace
}  // namespace lsd::testing
