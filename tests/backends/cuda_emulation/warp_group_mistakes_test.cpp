// SPDX-License-Identifier: Apache-2.0
// The emulation of warp-group products sees what it is there to see. Here and not beside the kernels' tests because
// exceptions that leave a fiber are more than the address sanitizer follows.
#include "attention_wgmma_tiles_internal.h"
#include "backends/emulated_warp_group.h"
#include "support/expect_error.h"

namespace lsd::testing {
namespace {

namespace attention = backends::cuda::attention;

// A product of one operand tile with itself, with one rule of the manual broken.
enum class Mistake { none, no_register_fence, no_copy_fence, no_wait, early_overwrite, early_read, early_write };

void small_product(Mistake mistake) {
  EmulatedWarpGroups groups(128);
  EmulatedBlock block(128, 2 * 64 * 128 + 1024, ThreadOrder::ascending);
  std::vector<BFloat16> ones(64 * 64, BFloat16(1.0F));
  attention::Problem<BFloat16> p;
  p.head_width = 64;
  block.run(1, [&](EmulatedThread& thread) {
    WarpGroupThread t(thread, groups);
    auto* tile = attention::aligned_shared(t);
    attention::load_swizzled<64, 64, 128>(t, tile, {ones.data(), 64}, 0, 64, p);
    t.wait_copies();
    if (mistake != Mistake::no_copy_fence) t.fence_copies();
    t.sync();
    float sums[8][4] = {};
    if (mistake != Mistake::no_register_fence) t.fence_registers();
    for (int k = 0; k < 64; k += 16)
      t.multiply_group<false>(sums, attention::by_columns<64>(t, tile, 0, k), attention::by_columns<64>(t, tile, 0, k),
                              k > 0);
    t.commit_products();
    if (mistake == Mistake::early_overwrite) tile[200] = 0;
    if (mistake == Mistake::early_write) sums[3][1] = 1.0F;
    if (mistake == Mistake::early_read) check(sums[0][0] == 64.0F, "a result read early is not there");
    if (mistake == Mistake::no_wait) return;
    t.wait_products<0>();
    for (const auto& column : sums)
      for (const float sum : column) check(sum == 64.0F, "a product of ones");
  });
  groups.check_idle();
}

TEST(EmulatedWgmmaMistakes, AreSeen) {
  small_product(Mistake::none);
  const auto expect_seen = [](Mistake mistake, const char* words) {
    expect_error<InternalError>([mistake] { small_product(mistake); }, {words});
  };
  expect_seen(Mistake::no_register_fence, "wgmma.fence");
  expect_seen(Mistake::no_copy_fence, "fence.proxy.async");
  expect_seen(Mistake::no_wait, "every product is waited for");
  expect_seen(Mistake::early_overwrite, "not overwritten while a product reads it");
  expect_seen(Mistake::early_read, "a result read early");
  expect_seen(Mistake::early_write, "accumulators are not written");
}

}  // namespace
}  // namespace lsd::testing
