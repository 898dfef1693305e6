// SPDX-License-Identifier: Apache-2.0
// Linear layers. The bias rides in the product's epilogue. GELU does too where bits need not repeat (see
// BackendOptions::deterministic): the epilogue takes the activation of sums that are not rounded yet, by an
// approximation of its own, so recomputing it from the stored pre-activation would give other bits.
#include <algorithm>

#include "products_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

class CudaMatrixOps : public MatrixOps {
 public:
  explicit CudaMatrixOps(CudaContext& context) : MatrixOps(context.ops), context_(context) {}

 private:
  // A gradient in float32 beside bfloat16 operands is rounded before it is multiplied; behind the workspace.
  static std::size_t rounded_bytes(ConstTensorView grad_y, DType operands) {
    return grad_y.dtype() == operands ? 0
                                      : scratch_line(static_cast<std::size_t>(grad_y.elements() * size_of(operands)));
  }
  std::size_t scratch_bytes(const LinearForward&) const override { return Products::kWorkspaceBytes; }
  // A product that gelu' multiplies outside the epilogue stays float32 until then, so many rows at a time.
  static constexpr std::int64_t kSlopeRows = 8192;
  static bool through_float(const LinearBackwardInput& op) {
    return op.gelu != Gelu::none && op.grad_x.dtype() != DType::float32;
  }
  static std::size_t slope_bytes(const LinearBackwardInput& op) {
    const auto rows = std::min(op.grad_y.shape()[0], kSlopeRows);
    return through_float(op) ? static_cast<std::size_t>(rows * op.weight.shape()[1]) * sizeof(float) : 0;
  }
  std::size_t scratch_bytes(const LinearBackwardInput& op) const override {
    return Products::kWorkspaceBytes + rounded_bytes(op.grad_y, op.weight.dtype()) + slope_bytes(op);
  }
  std::size_t scratch_bytes(const LinearBackwardWeight& op) const override {
    const auto rows = op.grad_y.shape()[0], out = op.grad_y.shape()[1];
    const auto sums = op.grad_bias.present() ? column_sum_blocks(rows, out).blocks() * out : 0;
    return Products::kWorkspaceBytes + rounded_bytes(op.grad_y, op.x.dtype()) +
           static_cast<std::size_t>(sums) * sizeof(float);
  }
  void launch(const LinearForward& op) override;
  void launch(const LinearBackwardInput& op) override;
  void launch(const LinearBackwardWeight& op) override;
  void multiply_through_float(const LinearBackwardInput& op, const Product& whole, std::byte* memory);
  ConstTensorView rounded(ConstTensorView grad_y, DType operands, std::byte* memory) const;
  bool gelu_in_epilogue(Gelu gelu, ConstTensorView operand, ConstTensorView aux, TensorView result) const;

  CudaContext& context_;
};

ConstTensorView CudaMatrixOps::rounded(ConstTensorView grad_y, DType operands, std::byte* memory) const {
  if (grad_y.dtype() == operands) return grad_y;
  const TensorView out(memory, operands, grad_y.shape(), grad_y.device());
  launch_cast(context_, grad_y, out);
  return out;
}

bool CudaMatrixOps::gelu_in_epilogue(Gelu gelu, ConstTensorView operand, ConstTensorView aux, TensorView result) const {
  return !context_.deterministic && gelu == Gelu::tanh && operand.dtype() == DType::bfloat16 &&
         aux.dtype() == result.dtype() && result.dtype() == DType::bfloat16 && result.shape()[1] % 8 == 0;
}

void CudaMatrixOps::launch(const LinearForward& op) {
  if (op.x.shape()[0] == 0) return;
  void* workspace = context_.ops.scratch_for("LinearForward", scratch_bytes(op));
  const auto target = op.gelu == Gelu::none ? op.y : op.pre_activation;
  Product product{.a = op.x,
                  .b = op.weight,
                  .d = target,
                  .m = op.x.shape()[0],
                  .n = op.weight.shape()[0],
                  .k = op.x.shape()[1],
                  .b_transposed = true,
                  .bias = op.bias.raw()};
  auto& products = *context_.products;
  if (op.bias.present() && gelu_in_epilogue(op.gelu, op.x, op.pre_activation, op.y)) {
    product.epilogue = Epilogue::gelu_bias;
    product.d = op.y;
    product.aux = op.pre_activation.raw();
    if (products.try_multiply(product, workspace)) return;
    product.d = target;
  }
  product.epilogue = Epilogue::bias;
  const bool in_epilogue =
      op.bias.present() && target.dtype() == op.x.dtype() && products.try_multiply(product, workspace);
  if (!in_epilogue) {
    product.epilogue = Epilogue::none;
    products.multiply(product, workspace);
    if (op.bias.present()) launch_add_bias(context_, target, op.bias);
  }
  if (op.gelu != Gelu::none) launch_gelu(context_, target, op.y, op.gelu);
}

void CudaMatrixOps::launch(const LinearBackwardInput& op) {
  if (op.grad_y.shape()[0] == 0) return;
  auto* memory = static_cast<std::byte*>(context_.ops.scratch_for("LinearBackwardInput", scratch_bytes(op)));
  Product product{.a = rounded(op.grad_y, op.weight.dtype(), memory + Products::kWorkspaceBytes),
                  .b = op.weight,
                  .d = op.grad_x,
                  .m = op.grad_y.shape()[0],
                  .n = op.weight.shape()[1],
                  .k = op.weight.shape()[0]};
  auto& products = *context_.products;
  if (op.gelu != Gelu::none && gelu_in_epilogue(op.gelu, op.weight, op.gelu_input, op.grad_x)) {
    product.epilogue = Epilogue::gelu_slope;
    product.aux = const_cast<void*>(op.gelu_input.raw());
    if (products.try_multiply(product, memory)) return;
    product.epilogue = Epilogue::none;
  }
  if (through_float(op)) {
    multiply_through_float(op, product, memory);
    return;
  }
  products.multiply(product, memory);
  if (op.gelu != Gelu::none) launch_gelu_slope(context_, op.grad_x, op.gelu_input, op.gelu, op.grad_x);
}

void CudaMatrixOps::multiply_through_float(const LinearBackwardInput& op, const Product& whole, std::byte* memory) {
  auto* sums = memory + Products::kWorkspaceBytes + rounded_bytes(op.grad_y, op.weight.dtype());
  for (std::int64_t first = 0; first < whole.m; first += kSlopeRows) {
    const auto rows = std::min(kSlopeRows, whole.m - first);
    Product part = whole;
    part.m = rows;
    part.a = whole.a.row_range(first, rows);
    part.d = TensorView(sums, DType::float32, {rows, whole.n}, Device::cuda);
    context_.products->multiply(part, memory);
    launch_gelu_slope(context_, part.d, op.gelu_input.row_range(first, rows), op.gelu,
                      op.grad_x.row_range(first, rows));
  }
}

void CudaMatrixOps::launch(const LinearBackwardWeight& op) {
  const auto rows = op.x.shape()[0];
  if (rows == 0) return;
  auto* memory = static_cast<std::byte*>(context_.ops.scratch_for("LinearBackwardWeight", scratch_bytes(op)));
  auto* behind_workspace = memory + Products::kWorkspaceBytes;
  context_.products->multiply({.a = rounded(op.grad_y, op.x.dtype(), behind_workspace),
                               .b = op.x,
                               .d = op.grad_weight,
                               .m = op.grad_y.shape()[1],
                               .n = op.x.shape()[1],
                               .k = rows,
                               .a_transposed = true,
                               .beta = 1.0F},
                              memory);
  if (!op.grad_bias.present()) return;
  auto* sums = reinterpret_cast<float*>(behind_workspace + rounded_bytes(op.grad_y, op.x.dtype()));
  launch_column_sum(context_, op.grad_y, sums, op.grad_bias.data<float>());
}

}  // namespace

std::unique_ptr<MatrixOps> make_matrix_ops(CudaContext& context) {
  return std::make_unique<CudaMatrixOps>(context);
}

}  // namespace lsd::backends::cuda
