// SPDX-License-Identifier: Apache-2.0
#include "activations_internal.h"
#include "families_internal.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

// A gradient in float32 beside bfloat16 operands is rounded before it is multiplied.
std::vector<double> rounded_to(DType type, ConstTensorView view) {
  auto out = to_doubles(view);
  if (type == DType::bfloat16)
    for (auto& value : out) value = static_cast<double>(static_cast<float>(BFloat16(static_cast<float>(value))));
  return out;
}

class ReferenceMatrixOps : public MatrixOps {
 public:
  using MatrixOps::MatrixOps;

 private:
  void launch(const LinearForward& op) override {
    const auto rows = op.x.shape()[0], in = op.x.shape()[1], out = op.weight.shape()[0];
    const auto x = to_doubles(op.x), weight = to_doubles(op.weight), bias = to_doubles(op.bias);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t o = 0; o < out; ++o) {
        double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(o)];
        for (std::int64_t i = 0; i < in; ++i)
          sum += x[static_cast<std::size_t>(r * in + i)] * weight[static_cast<std::size_t>(o * in + i)];
        if (op.gelu == Gelu::none) {
          Values(op.y).set(r * out + o, sum);
          continue;
        }
        // gelu is taken of the stored, rounded pre-activation, so that recomputing it gives the same bits.
        Values(op.pre_activation).set(r * out + o, sum);
        Values(op.y).set(r * out + o, gelu_value(Values(op.pre_activation)[r * out + o], op.gelu));
      }
  }

  void launch(const LinearBackwardInput& op) override {
    const auto rows = op.grad_y.shape()[0], out = op.weight.shape()[0], in = op.weight.shape()[1];
    const auto grad_y = rounded_to(op.weight.dtype(), op.grad_y), weight = to_doubles(op.weight),
               gelu_input = to_doubles(op.gelu_input);
    std::vector<double> sum(static_cast<std::size_t>(in));
    for (std::int64_t r = 0; r < rows; ++r) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i)
          sum[static_cast<std::size_t>(i)] +=
              grad_y[static_cast<std::size_t>(r * out + o)] * weight[static_cast<std::size_t>(o * in + i)];
      for (std::int64_t i = 0; i < in; ++i) {
        const double slope =
            gelu_input.empty() ? 1.0 : gelu_slope(gelu_input[static_cast<std::size_t>(r * in + i)], op.gelu);
        Values(op.grad_x).set(r * in + i, sum[static_cast<std::size_t>(i)] * slope);
      }
    }
  }

  void launch(const LinearBackwardWeight& op) override {
    const auto rows = op.x.shape()[0], in = op.x.shape()[1], out = op.grad_y.shape()[1];
    const auto x = to_doubles(op.x), grad_y = rounded_to(op.x.dtype(), op.grad_y);
    std::vector<double> sum(static_cast<std::size_t>(in));
    for (std::int64_t o = 0; o < out; ++o) {
      std::fill(sum.begin(), sum.end(), 0.0);
      double column = 0.0;
      for (std::int64_t r = 0; r < rows; ++r) {
        const double factor = grad_y[static_cast<std::size_t>(r * out + o)];
        column += factor;
        for (std::int64_t i = 0; i < in; ++i)
          sum[static_cast<std::size_t>(i)] += factor * x[static_cast<std::size_t>(r * in + i)];
      }
      for (std::int64_t i = 0; i < in; ++i) Values(op.grad_weight).add(o * in + i, sum[static_cast<std::size_t>(i)]);
      if (op.grad_bias.present()) Values(op.grad_bias).add(o, column);
    }
  }
};

}  // namespace

std::unique_ptr<MatrixOps> make_matrix_ops(const Setup& setup) {
  return std::make_unique<ReferenceMatrixOps>(setup.context);
}

}  // namespace lsd::backends::reference
