// SPDX-License-Identifier: Apache-2.0
#include "cpu_internal.h"
#include "products_internal.h"

namespace lsd::backends::cpu {
namespace {

GeluKind kind_of(Gelu gelu) {
  return gelu == Gelu::erf ? GeluKind::erf : GeluKind::tanh;
}

std::size_t line(std::size_t bytes) {
  return ScratchCursor::bytes_of<std::byte>(static_cast<std::int64_t>(bytes));
}

// How the rows of a product with fixed weights are cut: blocks of kRows and what is left.
struct RowCut {
  static constexpr std::int64_t kRows = 256;
  std::int64_t block, tail;
  explicit RowCut(std::int64_t rows) : block(std::min(rows, kRows)), tail(block > 0 ? rows % block : 0) {}
};

// How a sum over rows is cut: `slices` of slice_rows rows, each making a partial sum out of products over kDepth rows,
// times blocks of output columns.
struct SumCut {
  static constexpr std::int64_t kSlices = 8, kDepth = 512, kColumns = 256;
  std::int64_t slice_rows, slices, columns, blocks;
  SumCut(std::int64_t rows, std::int64_t out)
      : slice_rows(ceil_div(ceil_div(rows, kSlices), kDepth) * kDepth),
        slices(std::max<std::int64_t>(1, ceil_div(rows, slice_rows))),
        columns(std::min(out, kColumns)),
        blocks(ceil_div(out, columns)) {}
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
  struct SumPlan;
  SumPlan plan(const LinearBackwardWeight& op) const;

  std::size_t scratch_bytes(const LinearForward& op) const override { return plan(op).bytes(setup_.threads); }
  std::size_t scratch_bytes(const LinearBackwardInput& op) const override { return plan(op).bytes(setup_.threads); }
  std::size_t scratch_bytes(const LinearBackwardWeight& op) const override;
  void launch(const LinearForward& op) override;
  void launch(const LinearBackwardInput& op) override;
  void launch(const LinearBackwardWeight& op) override;
  void add_partials(const LinearBackwardWeight& op, const SumPlan& plan, const float* weights,
                    const float* biases) const;

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
  plan.packed_bytes = line(needs.packed_bytes);
  plan.product_bytes = line(std::max(needs.scratch_bytes, tail_bytes));
  plan.thread_bytes = plan.product_bytes + line(extra_per_thread);
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
                   rows, line(rounded) + product);
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

struct CpuMatrixOps::SumPlan {
  SumCut cut;
  std::size_t partial_bytes, bias_bytes, thread_bytes, product_bytes;
  bool round_first;
  std::size_t bytes(int threads) const {
    return partial_bytes + bias_bytes + thread_bytes * static_cast<std::size_t>(threads);
  }
  // partial[columns, in] (+)= grad_y[rows, columns]^T x[rows, in]. A single slice adds to the gradient itself.
  ProductShape shape(std::int64_t rows, std::int64_t columns, const LinearBackwardWeight& op, bool first) const {
    const auto in = op.x.shape()[1];
    return {.a = op.x.dtype(),
            .c = DType::float32,
            .m = columns,
            .n = in,
            .k = rows,
            .a_stride = round_first ? columns : op.grad_y.shape()[1],
            .b_stride = in,
            .a_transposed = true,
            .add = !first || cut.slices == 1};
  }
};

CpuMatrixOps::SumPlan CpuMatrixOps::plan(const LinearBackwardWeight& op) const {
  const auto rows = op.x.shape()[0], in = op.x.shape()[1], out = op.grad_y.shape()[1];
  const SumCut cut(rows, out);
  SumPlan plan{.cut = cut,
               .partial_bytes = 0,
               .bias_bytes = 0,
               .thread_bytes = 0,
               .product_bytes = 0,
               .round_first = op.grad_y.dtype() != op.x.dtype()};
  if (rows == 0) return plan;
  for (const auto depth : {std::min(rows, SumCut::kDepth), (rows - 1) % SumCut::kDepth + 1})
    for (const auto columns : {cut.columns, out - (cut.blocks - 1) * cut.columns})
      for (const bool first : {true, false})
        plan.product_bytes =
            std::max(plan.product_bytes, line(products_.needs(plan.shape(depth, columns, op, first)).scratch_bytes));
  if (cut.slices > 1) plan.partial_bytes = ScratchCursor::bytes_of<float>(cut.slices * out * in);
  plan.bias_bytes = ScratchCursor::bytes_of<float>(cut.slices * out);
  plan.thread_bytes = plan.product_bytes + ScratchCursor::bytes_of<float>(cut.columns);
  if (plan.round_first) plan.thread_bytes += ScratchCursor::bytes_of<std::uint16_t>(SumCut::kDepth * cut.columns);
  return plan;
}

std::size_t CpuMatrixOps::scratch_bytes(const LinearBackwardWeight& op) const {
  return plan(op).bytes(setup_.threads);
}

void CpuMatrixOps::launch(const LinearBackwardWeight& op) {
  const auto rows = op.x.shape()[0], in = op.x.shape()[1], out = op.grad_y.shape()[1];
  if (rows == 0) return;
  const auto made = plan(op);
  const auto& cut = made.cut;
  auto* memory = static_cast<std::byte*>(context().scratch_for("LinearBackwardWeight", made.bytes(setup_.threads)));
  auto* partial = made.partial_bytes > 0 ? reinterpret_cast<float*>(memory) : op.grad_weight.data<float>();
  auto* biases = reinterpret_cast<float*>(memory + made.partial_bytes);
  const Reader grad_y(op.grad_y, setup_.kernels);
  parallel_for(setup_.threads, cut.slices * cut.blocks, [&](std::int64_t task, int thread) {
    const auto slice = task / cut.blocks, column = task % cut.blocks * cut.columns;
    const auto first = slice * cut.slice_rows, last = std::min(rows, first + cut.slice_rows);
    const auto columns = std::min(cut.columns, out - column);
    ScratchCursor cursor(memory + made.partial_bytes + made.bias_bytes +
                         static_cast<std::size_t>(thread) * made.thread_bytes);
    auto* scratch = cursor.take<std::byte>(static_cast<std::int64_t>(made.product_bytes));
    auto* buffer = cursor.take<float>(cut.columns);
    auto* rounded = made.round_first ? cursor.take<std::uint16_t>(SumCut::kDepth * cut.columns) : nullptr;
    for (auto begin = first; begin < last; begin += SumCut::kDepth) {
      const auto end = std::min(last, begin + SumCut::kDepth);
      const void* a =
          static_cast<const std::byte*>(op.grad_y.raw()) + (begin * out + column) * size_of(op.grad_y.dtype());
      if (made.round_first) {
        for (auto r = begin; r < end; ++r)
          setup_.kernels.narrow(op.grad_y.data<float>() + r * out + column, rounded + (r - begin) * columns, columns);
        a = rounded;
      }
      products_.multiply(made.shape(end - begin, columns, op, begin == first), a,
                         static_cast<const std::byte*>(op.x.raw()) + begin * in * size_of(op.x.dtype()), nullptr,
                         partial + (slice * out + column) * in, scratch);
    }
    if (!op.grad_bias.present()) return;
    float* sums = biases + slice * out + column;
    std::fill_n(sums, columns, 0.0F);
    for (auto r = first; r < last; ++r)
      setup_.kernels.add_scaled(1.0F, grad_y.read(r * out + column, columns, buffer), sums, columns);
  });
  add_partials(op, made, partial, biases);
}

void CpuMatrixOps::add_partials(const LinearBackwardWeight& op, const SumPlan& plan, const float* weights,
                                const float* biases) const {
  const auto in = op.x.shape()[1], out = op.grad_y.shape()[1], count = out * in;
  if (op.grad_bias.present())
    for (std::int64_t s = 0; s < plan.cut.slices; ++s)
      setup_.kernels.add_scaled(1.0F, biases + s * out, op.grad_bias.data<float>(), out);
  if (plan.cut.slices == 1) return;
  parallel_rows(setup_.threads, count, 4 * kChunk, [&](std::int64_t first, std::int64_t last, int) {
    for (std::int64_t s = 0; s < plan.cut.slices; ++s)
      setup_.kernels.add_scaled(1.0F, weights + s * count + first, op.grad_weight.data<float>() + first, last - first);
  });
}

}  // namespace

std::unique_ptr<MatrixOps> make_matrix_ops(const Setup& setup) {
  return std::make_unique<CpuMatrixOps>(setup);
}

}  // namespace lsd::backends::cpu
