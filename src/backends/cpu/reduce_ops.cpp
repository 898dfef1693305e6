// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "cpu_internal.h"
#include "lsd/core/error.h"
#include "multivariate_internal.h"

namespace lsd::backends::cpu {
namespace {

class CpuReduceOps : public ReduceOps {
 public:
  explicit CpuReduceOps(const Setup& setup) : ReduceOps(setup.context), setup_(setup) {}

 private:
  // Columns of one task where every task walks all rows: the sums then run in the order of the rows.
  static constexpr std::int64_t kColumns = 64;
  // Rows whose float32 sums are formed before they are added to the running ones: bounds rounding over many rows.
  static constexpr std::int64_t kSumRows = 1024;

  void launch(const GroupMoments& op) override;
  void launch(const UnivariateKl& op) override;
  void launch(const MomentGradient& op) override;
  void launch(const MultivariateKl& op) override {
    const MultivariateDivergence made(setup_, products_, op);
    made.run(context().scratch_for("MultivariateKl", made.scratch_bytes()));
  }
  void launch(const SequenceMean& op) override;

  // Sums term(row, group, columns) into sums[group, width] for the columns of one task.
  template <class AddRow>
  void sum_by_group(const GroupMoments& op, float* sums, float* running, AddRow&& add_row);

  std::size_t scratch_bytes(const GroupMoments& op) const override {
    return ScratchCursor::bytes_of<float>(op.mean.elements());
  }
  std::size_t scratch_bytes(const MomentGradient& op) const override {
    return static_cast<std::size_t>(setup_.threads) * ScratchCursor::bytes_of<float>(3 * op.z.shape()[1]);
  }
  std::size_t scratch_bytes(const MultivariateKl& op) const override {
    return MultivariateDivergence(setup_, products_, op).scratch_bytes();
  }
  std::size_t scratch_bytes(const UnivariateKl&) const override { return 0; }
  std::size_t scratch_bytes(const SequenceMean&) const override { return 0; }

  Setup setup_;
  mutable Products products_;
};

template <class AddRow>
void CpuReduceOps::sum_by_group(const GroupMoments& op, float* sums, float* running, AddRow&& add_row) {
  const auto rows = op.z.shape()[0], width = op.z.shape()[1], groups = op.count.elements();
  const auto* row_group = op.row_group.data<std::int32_t>();
  const auto* count = op.count.data<float>();
  const Reader z(op.z, setup_.kernels);
  parallel_rows(setup_.threads, width, kColumns, [&](std::int64_t first, std::int64_t last, int) {
    float buffer[kColumns];
    const auto columns = last - first;
    for (std::int64_t g = 0; g < groups; ++g) std::fill_n(sums + g * width + first, columns, 0.0F);
    for (std::int64_t begin = 0; begin < rows; begin += kSumRows) {
      for (std::int64_t g = 0; g < groups; ++g) std::fill_n(running + g * width + first, columns, 0.0F);
      for (auto r = begin; r < std::min(rows, begin + kSumRows); ++r) {
        if (row_group[r] < 0) continue;
        add_row(z.read(r * width + first, columns, buffer), row_group[r] * width + first, running, columns);
      }
      for (std::int64_t g = 0; g < groups; ++g)
        setup_.kernels.add_scaled(1.0F, running + g * width + first, sums + g * width + first, columns);
    }
    for (std::int64_t g = 0; g < groups; ++g)
      if (count[g] > 0.0F)
        setup_.kernels.scale(1.0F / count[g], sums + g * width + first, sums + g * width + first, columns);
  });
}

void CpuReduceOps::launch(const GroupMoments& op) {
  auto* running = static_cast<float*>(context().scratch_for("GroupMoments", scratch_bytes(op)));
  const auto groups = op.count.elements();
  auto* count = op.count.data<float>();
  std::fill_n(count, groups, 0.0F);
  for (const auto group : op.row_group.span<std::int32_t>()) {
    if (group < 0) continue;
    check(group < groups, "a row's group lies within the moments");
    count[group] += 1.0F;
  }
  auto* mean = op.mean.data<float>();
  const auto& kernels = setup_.kernels;
  sum_by_group(op, mean, running, [&](const float* z, std::int64_t at, float* sums, std::int64_t columns) {
    kernels.add_scaled(1.0F, z, sums + at, columns);
  });
  sum_by_group(op, op.variance.data<float>(), running,
               [&](const float* z, std::int64_t at, float* sums, std::int64_t columns) {
                 kernels.add_squared_deviation(z, mean + at, sums + at, columns);
               });
}

void CpuReduceOps::launch(const UnivariateKl& op) {
  const auto groups = op.mean.shape()[0], width = op.mean.shape()[1];
  const double taking_part = static_cast<double>(groups_taking_part(op.count, op.min_count));
  double loss = 0.0;
  for (std::int64_t g = 0; g < groups; ++g) {
    const float n = op.count.data<float>()[g];
    const bool part = takes_part(n, op.min_count);
    const double share = part ? 1.0 / (static_cast<double>(width) * taking_part) : 0.0;
    for (auto i = g * width; i < (g + 1) * width; ++i) {
      const double mean = op.mean.data<float>()[i], raw = op.variance.data<float>()[i];
      const double variance = std::max<double>(raw, op.variance_floor);
      loss += part ? 0.5 * (mean * mean + variance - 1.0 - std::log(variance)) * share : 0.0;
      op.offset.data<float>()[i] = part ? static_cast<float>(mean * share / n) : 0.0F;
      op.slope.data<float>()[i] =
          part && raw >= op.variance_floor ? static_cast<float>((1.0 - 1.0 / variance) * share / n) : 0.0F;
    }
  }
  op.loss.data<float>()[0] += static_cast<float>(loss);
}

void CpuReduceOps::launch(const MomentGradient& op) {
  const auto rows = op.z.shape()[0], width = op.z.shape()[1];
  auto* memory = static_cast<std::byte*>(context().scratch_for("MomentGradient", scratch_bytes(op)));
  const float factor = op.weight * share_of(op.share);
  const Reader grad_in(op.grad_in, setup_.kernels), z(op.z, setup_.kernels);
  const Writer grad_z(op.grad_z, setup_.kernels);
  parallel_rows(setup_.threads, rows, kRowBlock, [&](std::int64_t first, std::int64_t last, int thread) {
    auto* buffer =
        reinterpret_cast<float*>(memory + static_cast<std::size_t>(thread) * ScratchCursor::bytes_of<float>(3 * width));
    for (auto r = first; r < last; ++r) {
      const auto group = op.row_group.data<std::int32_t>()[r];
      const float* from = grad_in.read(r * width, width, buffer);
      float* to = grad_z.target(r * width, buffer + width);
      if (group < 0) {
        if (to != from) std::copy_n(from, width, to);
      } else {
        const auto at = group * width;
        setup_.kernels.moment_gradient(factor, from, z.read(r * width, width, buffer + 2 * width),
                                       op.mean.data<float>() + at, op.offset.data<float>() + at,
                                       op.slope.data<float>() + at, to, width);
      }
      grad_z.finish(r * width, width, to);
    }
  });
}

void CpuReduceOps::launch(const SequenceMean& op) {
  const auto width = op.x.shape()[1];
  const auto* offsets = op.layout.offsets.data<std::int32_t>();
  const auto* mask = op.row_mask.data<std::uint8_t>();
  const Reader x(op.x, setup_.kernels);
  parallel_for(setup_.threads, op.layout.max_sequences(), [&](std::int64_t s, int) {
    alignas(64) float buffer[kChunk];
    float* mean = op.mean.data<float>() + s * width;
    std::fill_n(mean, width, 0.0F);
    float count = 0.0F;
    for (auto r = offsets[s]; r < offsets[s + 1]; ++r) {
      if (mask[r] == 0) continue;
      count += 1.0F;
      for (std::int64_t c = 0; c < width; c += kChunk) {
        const auto here = std::min(kChunk, width - c);
        setup_.kernels.add_scaled(1.0F, x.read(r * width + c, here, buffer), mean + c, here);
      }
    }
    if (count > 0.0F) setup_.kernels.scale(1.0F / count, mean, mean, width);
  });
}

}  // namespace

std::unique_ptr<ReduceOps> make_reduce_ops(const Setup& setup) {
  return std::make_unique<CpuReduceOps>(setup);
}

}  // namespace lsd::backends::cpu
