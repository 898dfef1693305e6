// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "cpu_internal.h"
#include "lsd/core/error.h"
#include "products_internal.h"

namespace lsd::backends::cpu {
namespace {

bool takes_part(float count, float min_count) {
  return count >= min_count && count > 0.0F;
}

std::int64_t groups_taking_part(ConstTensorView count, float min_count) {
  std::int64_t groups = 0;
  for (const float n : count.span<float>()) groups += takes_part(n, min_count) ? 1 : 0;
  return groups;
}

float share_of(ConstTensorView share) {
  return share.present() ? share.data<float>()[0] : 1.0F;
}

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
  void launch(const MultivariateKl& op) override;
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
  std::size_t scratch_bytes(const MultivariateKl& op) const override;
  std::size_t scratch_bytes(const UnivariateKl&) const override { return 0; }
  std::size_t scratch_bytes(const SequenceMean&) const override { return 0; }

  struct KlPlan {
    ProductShape covariance, inverse, gradient;
    std::size_t product_bytes;
  };
  static constexpr std::int64_t kKlRows = 512;  // rows of a group gathered at a time
  KlPlan plan(const MultivariateKl& op) const;
  struct KlMemory;
  void add_group(const MultivariateKl& op, std::int64_t group, float taking_part, KlMemory& memory);

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

// Float32 matrices [d, d] and rows of a group, in scratch.
struct CpuReduceOps::KlMemory {
  float *rows, *made, *factor, *inverse, *product;
  std::byte* scratch;
};

CpuReduceOps::KlPlan CpuReduceOps::plan(const MultivariateKl& op) const {
  const auto d = op.z.shape()[1];
  KlPlan plan{
      .covariance = {.m = d, .n = d, .k = kKlRows, .a_stride = d, .b_stride = d, .a_transposed = true, .add = true},
      .inverse = {.m = d, .n = d, .k = d, .a_stride = d, .b_stride = d, .a_transposed = true},
      .gradient = {.m = kKlRows, .n = d, .k = d, .a_stride = d, .b_stride = d},
      .product_bytes = 0};
  for (const auto& shape : {plan.covariance, plan.inverse, plan.gradient})
    plan.product_bytes = std::max(plan.product_bytes, products_.needs(shape).scratch_bytes);
  return plan;
}

std::size_t CpuReduceOps::scratch_bytes(const MultivariateKl& op) const {
  const auto d = op.z.shape()[1];
  return 2 * ScratchCursor::bytes_of<float>(kKlRows * d) + 3 * ScratchCursor::bytes_of<float>(d * d) +
         plan(op).product_bytes + 64;
}

void CpuReduceOps::launch(const MultivariateKl& op) {
  const auto rows = op.z.shape()[0], d = op.z.shape()[1], groups = op.mean.shape()[0];
  const auto made = plan(op);
  ScratchCursor cursor(context().scratch_for("MultivariateKl", scratch_bytes(op)));
  KlMemory memory{};
  memory.rows = cursor.take<float>(kKlRows * d);
  memory.made = cursor.take<float>(kKlRows * d);
  memory.factor = cursor.take<float>(d * d);
  memory.inverse = cursor.take<float>(d * d);
  memory.product = cursor.take<float>(d * d);
  memory.scratch = cursor.take<std::byte>(static_cast<std::int64_t>(made.product_bytes));
  if (op.grad_z.present() && op.grad_z.raw() != op.grad_in.raw() && rows > 0)
    std::copy_n(static_cast<const std::byte*>(op.grad_in.raw()), op.grad_in.bytes(),
                static_cast<std::byte*>(op.grad_z.raw()));
  const auto taking_part = static_cast<float>(groups_taking_part(op.count, op.min_count));
  for (std::int64_t g = 0; g < groups; ++g)
    if (takes_part(op.count.data<float>()[g], op.min_count)) add_group(op, g, taking_part, memory);
}

// In place: lower triangle of `a` -> its Cholesky factor.
void cholesky(const Kernels& kernels, int threads, float* a, std::int64_t d) {
  for (std::int64_t j = 0; j < d; ++j) {
    const float pivot = a[j * d + j] - kernels.dot(a + j * d, a + j * d, j);
    if (!(pivot > 0.0F))
      throw SystemError("MultivariateKl: the covariance of the latents is not positive definite (pivot " +
                        std::to_string(j) + " is " + std::to_string(pivot) +
                        "); latents may not be finite, or use a larger shrinkage");
    const float root = std::sqrt(pivot);
    a[j * d + j] = root;
    parallel_rows(threads, d - j - 1, 256, [&](std::int64_t first, std::int64_t last, int) {
      for (auto i = j + 1 + first; i < j + 1 + last; ++i)
        a[i * d + j] = (a[i * d + j] - kernels.dot(a + i * d, a + j * d, j)) / root;
    });
  }
}

// inverse = L^-1, rows in order; the upper triangle is 0.
void invert_lower(const Kernels& kernels, const float* lower, float* inverse, std::int64_t d) {
  for (std::int64_t i = 0; i < d; ++i) {
    float* row = inverse + i * d;
    std::fill_n(row, d, 0.0F);
    for (std::int64_t k = 0; k < i; ++k) kernels.add_scaled(-lower[i * d + k], inverse + k * d, row, k + 1);
    row[i] = 1.0F;
    kernels.scale(1.0F / lower[i * d + i], row, row, i + 1);
  }
}

void CpuReduceOps::add_group(const MultivariateKl& op, std::int64_t group, float taking_part, KlMemory& memory) {
  const auto rows = op.z.shape()[0], d = op.z.shape()[1];
  const auto& kernels = setup_.kernels;
  const FlushDenormals guard;
  const auto shapes = plan(op);
  const float n = op.count.data<float>()[group];
  const float* mean = op.mean.data<float>() + group * d;
  const auto* row_group = op.row_group.data<std::int32_t>();
  const Reader z(op.z, kernels);
  // Calls body(filled) with memory.rows = z - mean of up to kKlRows rows of the group, zero behind; `row_of[i]` is row
  // i.
  std::int64_t row_of[kKlRows];
  const auto for_rows = [&](auto&& body) {
    std::int64_t filled = 0;
    for (std::int64_t r = 0; r <= rows; ++r) {
      if (r < rows && row_group[r] == group) {
        float* to = memory.rows + filled * d;
        kernels.linear_combination(1.0F, z.read(r * d, d, to), -1.0F, mean, to, d);
        row_of[filled++] = r;
      }
      if (filled == 0 || (filled < kKlRows && r < rows)) continue;
      std::fill_n(memory.rows + filled * d, (kKlRows - filled) * d, 0.0F);
      body(filled);
      filled = 0;
    }
  };
  const float shrinkage = op.shrinkage;
  float* covariance = memory.factor;
  std::fill_n(covariance, d * d, 0.0F);
  for_rows([&](std::int64_t) {
    products_.multiply(shapes.covariance, memory.rows, memory.rows, nullptr, covariance, memory.scratch);
  });
  kernels.scale((1.0F - shrinkage) / n, covariance, covariance, d * d);
  double trace = 0.0, mean_square = 0.0, log_det = 0.0;
  for (std::int64_t i = 0; i < d; ++i) {
    trace += covariance[i * d + i] += shrinkage;
    mean_square += static_cast<double>(mean[i]) * mean[i];
  }
  cholesky(kernels, setup_.threads, memory.factor, d);
  for (std::int64_t i = 0; i < d; ++i) log_det += 2.0 * std::log(static_cast<double>(memory.factor[i * d + i]));
  const auto width = static_cast<double>(d);
  op.loss.data<float>()[0] += static_cast<float>((trace + mean_square - width - log_det) / (2.0 * width * taking_part));
  if (!op.grad_z.present()) return;
  invert_lower(kernels, memory.factor, memory.inverse, d);
  products_.multiply(shapes.inverse, memory.inverse, memory.inverse, nullptr, memory.product, memory.scratch);
  const float factor = op.weight * share_of(op.share) / (n * static_cast<float>(d) * taking_part);
  const Writer grad_z(op.grad_z, kernels);
  const Reader grad_in(op.grad_in, kernels);
  for_rows([&](std::int64_t filled) {
    products_.multiply(shapes.gradient, memory.rows, memory.product, nullptr, memory.made, memory.scratch);
    for (std::int64_t i = 0; i < filled; ++i) {
      const float* centred = memory.rows + i * d;
      float* solved = memory.made + i * d;
      kernels.linear_combination(factor * (1.0F - shrinkage), centred, -factor * (1.0F - shrinkage), solved, solved, d);
      kernels.add_scaled(factor, mean, solved, d);
      // memory.factor is free by now; its first row carries a bfloat16 gradient as float32.
      kernels.add_scaled(1.0F, grad_in.read(row_of[i] * d, d, memory.factor), solved, d);
      float* to = grad_z.target(row_of[i] * d, solved);
      if (to != solved) std::copy_n(solved, d, to);
      grad_z.finish(row_of[i] * d, d, solved);
    }
  });
}

}  // namespace

std::unique_ptr<ReduceOps> make_reduce_ops(const Setup& setup) {
  return std::make_unique<CpuReduceOps>(setup);
}

}  // namespace lsd::backends::cpu
