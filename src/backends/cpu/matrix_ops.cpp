// SPDX-License-Identifier: Apache-2.0
#include "cpu_internal.h"
#include "products_internal.h"
#include "weight_gradient_internal.h"

namespace lsd::backends::cpu {
namespace {

GeluKind kind_of(Gelu gelu) {
  return gelu == Gelu::erf ? GeluKind::erf : GeluKind::tanh;
}

// How the rows of a product with fixed weights are cut: blocks of kRows and what is left.
struct RowCut {
  static constexpr std::int64_t kRows = 256;
  std::int64_t block, tail;
  explicit RowCut(std::int64_t rows) : block(std::min(rows, kRows)), tail(block > 0 ? rows % block : 0) {}
};

class CpuMatrixOps : public MatrixOps {
 public:
  explicit CpuMatrixOps(const Setup& setup) : MatrixOps(setup.context), setup_(setup) {}

 private:
  struct Plan {
    ProductShape block, tail;
    std::size_t packed_bytes, thread_bytes, product_bytes;
    std::size_t bytes(int threads) const { return packed_bytes + thread_bytes * static_cast<std::size_t>(threads); }
  };
  // Both products with weights: C[rows, n] = A[rows, k] B, B packed once.
  Plan plan_rows(ProductShape shape, std::int64_t rows, std::size_t extra_per_thread) const;
  Plan plan(const LinearForward& op) const;
  Plan plan(const LinearBackwardInput& op) const;

  std::size_t scratch_bytes(const LinearForward& op) const override { return plan(op).bytes(setup_.threads); }
  std::size_t scratch_bytes(const LinearBackwardInput& op) const override { return plan(op).bytes(setup_.threads); }
  std::size_t scratch_bytes(const LinearBackwardWeight& op) const override {
    return WeightGradient(setup_, products_, op).scratch_bytes();
  }
  void launch(const LinearForward& op) override;
  void launch(const LinearBackwardInput& op) override;
  void launch(const LinearBackwardWeight& op) override {
    const WeightGradient made(setup_, products_, op);
    if (op.x.shape()[0] > 0) made.run(context().scratch_for("LinearBackwardWeight", made.scratch_bytes()));
  }

  Setup setup_;
  mutable Products products_;  // planning (const) already makes the products
};

CpuMatrixOps::Plan CpuMatrixOps::plan_rows(ProductShape shape, std::int64_t rows, std::size_t extra_per_thread) const {
  const RowCut cut(rows);
  shape.packed = true;
  shape.m = cut.block;
  Plan plan{.block = shape, .tail = shape};
  if (rows == 0) return plan;
  const auto needs = products_.needs(plan.block);
  plan.tail.m = cut.tail;
  const auto tail_bytes = cut.tail > 0 ? products_.needs(plan.tail).scratch_bytes : 0;
  plan.packed_bytes = whole_lines(needs.packed_bytes);
  plan.product_bytes = whole_lines(std::max(needs.scratch_bytes, tail_bytes));
  plan.thread_bytes = plan.product_bytes + whole_lines(extra_per_thread);
  return plan;
}

CpuMatrixOps::Plan CpuMatrixOps::plan(const LinearForward& op) const {
  const auto in = op.x.shape()[1], out = op.weight.shape()[0];
  return plan_rows({.a = op.x.dtype(),
                    .c = op.y.dtype(),
                    .n = out,
                    .k = in,
                    .a_stride = in,
                    .b_stride = in,
                    .b_transposed = true,
                    .bias = op.bias.present()},
                   op.x.shape()[0], 0);
}

void CpuMatrixOps::launch(const LinearForward& op) {
  const auto rows = op.x.shape()[0], in = op.x.shape()[1], out = op.weight.shape()[0];
  if (rows == 0) return;
  const auto made = plan(op);
  auto* packed = static_cast<std::byte*>(context().scratch_for("LinearForward", made.bytes(setup_.threads)));
  products_.pack(made.block, op.weight.raw(), packed);
  const auto target = op.gelu == Gelu::none ? op.y : op.pre_activation;
  const Reader pre(target, setup_.kernels);
  const Writer y(op.y, setup_.kernels);
  parallel_rows(setup_.threads, rows, made.block.m, [&](std::int64_t first, std::int64_t last, int thread) {
    auto* scratch = packed + made.packed_bytes + static_cast<std::size_t>(thread) * made.thread_bytes;
    products_.multiply(last - first == made.block.m ? made.block : made.tail,
                       static_cast<const std::byte*>(op.x.raw()) + first * in * size_of(op.x.dtype()), packed,
                       op.bias.raw(), static_cast<std::byte*>(target.raw()) + first * out * size_of(target.dtype()),
                       scratch);
    if (op.gelu == Gelu::none) return;
    alignas(64) float read[kChunk], write[kChunk];
    for (auto i = first * out; i < last * out; i += kChunk) {
      const auto count = std::min(kChunk, last * out - i);
      float* to = y.target(i, write);
      setup_.kernels.gelu(pre.read(i, count, read), to, count, kind_of(op.gelu));
      y.finish(i, count, to);
    }
  });
}

CpuMatrixOps::Plan CpuMatrixOps::plan(const LinearBackwardInput& op) const {
  const auto rows = op.grad_y.shape()[0], out = op.weight.shape()[0], in = op.weight.shape()[1];
  const auto type = op.weight.dtype();
  const auto block = static_cast<std::size_t>(RowCut(rows).block);
  // A float32 gradient is rounded to the weights' type first; a product that gelu' multiplies is kept in float32.
  const std::size_t rounded = op.grad_y.dtype() == type ? 0 : block * static_cast<std::size_t>(out * size_of(type));
  const bool through_float = op.gelu != Gelu::none && op.grad_x.dtype() != DType::float32;
  const std::size_t product = through_float ? block * static_cast<std::size_t>(in) * sizeof(float) : 0;
  return plan_rows({.a = type,
                    .c = through_float ? DType::float32 : op.grad_x.dtype(),
                    .n = in,
                    .k = out,
                    .a_stride = out,
                    .b_stride = in},
                   rows, whole_lines(rounded) + product);
}

void CpuMatrixOps::launch(const LinearBackwardInput& op) {
  const auto rows = op.grad_y.shape()[0], out = op.weight.shape()[0], in = op.weight.shape()[1];
  if (rows == 0) return;
  const auto made = plan(op);
  auto* packed = static_cast<std::byte*>(context().scratch_for("LinearBackwardInput", made.bytes(setup_.threads)));
  products_.pack(made.block, op.weight.raw(), packed);
  const bool round_first = op.grad_y.dtype() != op.weight.dtype();
  const bool through_float = op.gelu != Gelu::none && op.grad_x.dtype() != DType::float32;
  const Reader gelu_input(op.gelu_input, setup_.kernels);
  const Writer grad_x(op.grad_x, setup_.kernels);
  parallel_rows(setup_.threads, rows, made.block.m, [&](std::int64_t first, std::int64_t last, int thread) {
    auto* scratch = packed + made.packed_bytes + static_cast<std::size_t>(thread) * made.thread_bytes;
    ScratchCursor cursor(scratch + made.product_bytes);
    const void* grad_y = static_cast<const std::byte*>(op.grad_y.raw()) + first * out * size_of(op.grad_y.dtype());
    if (round_first) {
      auto* rounded = cursor.take<std::uint16_t>(made.block.m * out);
      setup_.kernels.narrow(static_cast<const float*>(grad_y), rounded, (last - first) * out);
      grad_y = rounded;
    }
    void* product = static_cast<std::byte*>(op.grad_x.raw()) + first * in * size_of(op.grad_x.dtype());
    if (through_float) product = cursor.take<float>(made.block.m * in);
    products_.multiply(last - first == made.block.m ? made.block : made.tail, grad_y, packed, nullptr, product,
                       scratch);
    if (op.gelu == Gelu::none) return;
    alignas(64) float read[kChunk];
    for (auto i = first * in; i < last * in; i += kChunk) {
      const auto count = std::min(kChunk, last * in - i);
      float* piece = static_cast<float*>(product) + (i - first * in);
      setup_.kernels.gelu_backward(piece, gelu_input.read(i, count, read), piece, count, kind_of(op.gelu));
      grad_x.finish(i, count, piece);
    }
  });
}

}  // namespace

std::unique_ptr<MatrixOps> make_matrix_ops(const Setup& setup) {
  return std::make_unique<CpuMatrixOps>(setup);
}

}  // namespace lsd::backends::cpu
