// SPDX-License-Identifier: Apache-2.0
#include "multivariate_internal.h"

#include <cmath>
#include <string>

#include "lsd/core/error.h"

namespace lsd::backends::cpu {
namespace {

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

}  // namespace

MultivariateDivergence::MultivariateDivergence(const Setup& setup, Products& products, const MultivariateKl& op)
    : setup_(setup), products_(products), op_(op), d_(op.z.shape()[1]) {
  covariance_ = {.m = d_, .n = d_, .k = kRows, .a_stride = d_, .b_stride = d_, .a_transposed = true, .add = true};
  inverse_ = {.m = d_, .n = d_, .k = d_, .a_stride = d_, .b_stride = d_, .a_transposed = true};
  gradient_ = {.m = kRows, .n = d_, .k = d_, .a_stride = d_, .b_stride = d_};
  for (const auto& shape : {covariance_, inverse_, gradient_})
    product_bytes_ = std::max(product_bytes_, products_.needs(shape).scratch_bytes);
}

std::size_t MultivariateDivergence::scratch_bytes() const {
  return 2 * ScratchCursor::bytes_of<float>(kRows * d_) + 3 * ScratchCursor::bytes_of<float>(d_ * d_) + product_bytes_ +
         64;
}

void MultivariateDivergence::run(void* scratch) const {
  ScratchCursor cursor(scratch);
  Memory memory{};
  memory.rows = cursor.take<float>(kRows * d_);
  memory.made = cursor.take<float>(kRows * d_);
  memory.factor = cursor.take<float>(d_ * d_);
  memory.inverse = cursor.take<float>(d_ * d_);
  memory.product = cursor.take<float>(d_ * d_);
  memory.scratch = cursor.take<std::byte>(static_cast<std::int64_t>(product_bytes_));
  if (op_.grad_z.present() && op_.grad_z.raw() != op_.grad_in.raw() && op_.z.shape()[0] > 0)
    std::copy_n(static_cast<const std::byte*>(op_.grad_in.raw()), op_.grad_in.bytes(),
                static_cast<std::byte*>(op_.grad_z.raw()));
  const auto taking_part = static_cast<float>(groups_taking_part(op_.count, op_.min_count));
  for (std::int64_t g = 0; g < op_.mean.shape()[0]; ++g)
    if (takes_part(op_.count.data<float>()[g], op_.min_count)) add_group(g, taking_part, memory);
}

template <class Body>
void MultivariateDivergence::for_rows(std::int64_t group, const Memory& memory, Body&& body) const {
  const auto rows = op_.z.shape()[0];
  const auto* row_group = op_.row_group.data<std::int32_t>();
  const float* mean = op_.mean.data<float>() + group * d_;
  const Reader z(op_.z, setup_.kernels);
  std::int64_t row_of[kRows];
  std::int64_t filled = 0;
  for (std::int64_t r = 0; r <= rows; ++r) {
    if (r < rows && row_group[r] == group) {
      float* to = memory.rows + filled * d_;
      setup_.kernels.linear_combination(1.0F, z.read(r * d_, d_, to), -1.0F, mean, to, d_);
      row_of[filled++] = r;
    }
    if (filled == 0 || (filled < kRows && r < rows)) continue;
    std::fill_n(memory.rows + filled * d_, (kRows - filled) * d_, 0.0F);
    body(row_of, filled);
    filled = 0;
  }
}

void MultivariateDivergence::add_group(std::int64_t group, float taking_part, const Memory& memory) const {
  const auto& kernels = setup_.kernels;
  const FlushDenormals guard;
  const float n = op_.count.data<float>()[group];
  const float* mean = op_.mean.data<float>() + group * d_;
  float* covariance = memory.factor;
  std::fill_n(covariance, d_ * d_, 0.0F);
  for_rows(group, memory, [&](const std::int64_t*, std::int64_t) {
    products_.multiply(covariance_, memory.rows, memory.rows, nullptr, covariance, memory.scratch);
  });
  kernels.scale((1.0F - op_.shrinkage) / n, covariance, covariance, d_ * d_);
  double trace = 0.0, mean_square = 0.0, log_det = 0.0;
  for (std::int64_t i = 0; i < d_; ++i) {
    trace += covariance[i * d_ + i] += op_.shrinkage;
    mean_square += static_cast<double>(mean[i]) * mean[i];
  }
  cholesky(kernels, setup_.threads, memory.factor, d_);
  for (std::int64_t i = 0; i < d_; ++i) log_det += 2.0 * std::log(static_cast<double>(memory.factor[i * d_ + i]));
  const auto width = static_cast<double>(d_);
  op_.loss.data<float>()[0] +=
      static_cast<float>((trace + mean_square - width - log_det) / (2.0 * width * taking_part));
  if (op_.grad_z.present()) add_gradient(group, taking_part, memory);
}

void MultivariateDivergence::add_gradient(std::int64_t group, float taking_part, const Memory& memory) const {
  const auto& kernels = setup_.kernels;
  const float shrinkage = op_.shrinkage, n = op_.count.data<float>()[group];
  const float* mean = op_.mean.data<float>() + group * d_;
  invert_lower(kernels, memory.factor, memory.inverse, d_);
  products_.multiply(inverse_, memory.inverse, memory.inverse, nullptr, memory.product, memory.scratch);
  const float factor = op_.weight * share_of(op_.share) / (n * static_cast<float>(d_) * taking_part);
  const Writer grad_z(op_.grad_z, kernels);
  const Reader grad_in(op_.grad_in, kernels);
  for_rows(group, memory, [&](const std::int64_t* row_of, std::int64_t filled) {
    products_.multiply(gradient_, memory.rows, memory.product, nullptr, memory.made, memory.scratch);
    for (std::int64_t i = 0; i < filled; ++i) {
      const float* centred = memory.rows + i * d_;
      float* solved = memory.made + i * d_;
      kernels.linear_combination(factor * (1.0F - shrinkage), centred, -factor * (1.0F - shrinkage), solved, solved,
                                 d_);
      kernels.add_scaled(factor, mean, solved, d_);
      // memory.factor is free by now; its first row carries a bfloat16 gradient as float32.
      kernels.add_scaled(1.0F, grad_in.read(row_of[i] * d_, d_, memory.factor), solved, d_);
      float* to = grad_z.target(row_of[i] * d_, solved);
      if (to != solved) std::copy_n(solved, d_, to);
      grad_z.finish(row_of[i] * d_, d_, solved);
    }
  });
}

}  // namespace lsd::backends::cpu
