// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "activations_internal.h"
#include "families_internal.h"
#include "lsd/core/error.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

class ReferencePointwiseOps : public PointwiseOps {
 public:
  using PointwiseOps::PointwiseOps;

 private:
  void launch(const Fill& op) override {
    if (op.y.dtype() == DType::int32)
      std::ranges::fill(op.y.span<std::int32_t>(), static_cast<std::int32_t>(op.value));
    else
      for (std::int64_t i = 0; i < op.y.elements(); ++i) Values(op.y).set(i, op.value);
  }

  void launch(const Cast& op) override {
    for (std::int64_t i = 0; i < op.x.elements(); ++i) Values(op.y).set(i, ConstValues(op.x)[i]);
  }

  void launch(const GeluForward& op) override {
    for (std::int64_t i = 0; i < op.x.elements(); ++i) Values(op.y).set(i, gelu_value(ConstValues(op.x)[i], op.gelu));
  }

  void launch(const GeluBackward& op) override {
    for (std::int64_t i = 0; i < op.x.elements(); ++i)
      Values(op.grad_x).set(i, ConstValues(op.grad_y)[i] * gelu_slope(ConstValues(op.x)[i], op.gelu));
  }

  void launch(const SiluForward& op) override {
    for (std::int64_t i = 0; i < op.x.elements(); ++i) {
      const double x = ConstValues(op.x)[i];
      Values(op.y).set(i, x * sigmoid(x));
    }
  }

  void launch(const SiluBackward& op) override {
    for (std::int64_t i = 0; i < op.x.elements(); ++i) {
      const double x = ConstValues(op.x)[i], s = sigmoid(x);
      Values(op.grad_x).set(i, ConstValues(op.grad_y)[i] * s * (1.0 + x * (1.0 - s)));
    }
  }

  void launch(const EmbeddingForward& op) override {
    const auto rows = op.y.shape()[0], width = op.y.shape()[1];
    for (std::int64_t r = 0; r < rows; ++r) {
      const double scale = op.row_scale.present() ? ConstValues(op.row_scale)[r] : 1.0;
      for (std::int64_t c = 0; c < width; ++c)
        Values(op.y).set(r * width + c, ConstValues(op.table)[token(op.tokens, r, op.table) * width + c] * scale);
    }
  }

  void launch(const EmbeddingBackward& op) override {
    const auto rows = op.grad_y.shape()[0], width = op.grad_y.shape()[1];
    auto sums = to_doubles(op.grad_table);
    for (std::int64_t r = 0; r < rows; ++r) {
      const double scale = op.row_scale.present() ? ConstValues(op.row_scale)[r] : 1.0;
      for (std::int64_t c = 0; c < width; ++c)
        sums[static_cast<std::size_t>(token(op.tokens, r, op.grad_table) * width + c)] +=
            ConstValues(op.grad_y)[r * width + c] * scale;
    }
    for (std::int64_t i = 0; i < op.grad_table.elements(); ++i)
      Values(op.grad_table).set(i, sums[static_cast<std::size_t>(i)]);
  }

  void launch(const ColumnAffine& op) override {
    const auto width = op.x.shape()[1];
    for (std::int64_t i = 0; i < op.x.elements(); ++i)
      Values(op.y).set(i, ConstValues(op.x)[i] * ConstValues(op.scale)[i % width] + ConstValues(op.shift)[i % width]);
  }

  void launch(const LinearCombination& op) override {
    const auto width = op.x.shape()[1];
    for (std::int64_t i = 0; i < op.x.elements(); ++i) {
      const auto sequence = op.row_sequence.data<std::int32_t>()[i / width];
      const ConstValues coefficients(op.coefficients);
      Values(op.out).set(i, sequence < 0 ? 0.0
                                         : coefficients[2 * sequence] * ConstValues(op.x)[i] +
                                               coefficients[2 * sequence + 1] * ConstValues(op.y)[i]);
    }
  }

  void launch(const SinusoidalFeatures& op) override {
    const auto features = op.out.shape()[1], half = features / 2;
    for (std::int64_t s = 0; s < op.time.elements(); ++s)
      for (std::int64_t k = 0; k < half; ++k) {
        const double frequency = std::pow(10000.0, -static_cast<double>(k) / static_cast<double>(half));
        const double angle = 1000.0 * ConstValues(op.time)[s] * frequency;
        Values(op.out).set(s * features + k, std::cos(angle));
        Values(op.out).set(s * features + half + k, std::sin(angle));
      }
  }

  static std::int64_t token(ConstTensorView tokens, std::int64_t row, ConstTensorView table) {
    const auto id = tokens.data<std::int32_t>()[row];
    check(id >= 0 && id < table.shape()[0], "a token lies within the embedding table");
    return id;
  }
};

}  // namespace

std::unique_ptr<PointwiseOps> make_pointwise_ops(const Setup& setup) {
  return std::make_unique<ReferencePointwiseOps>(setup.context);
}

}  // namespace lsd::backends::reference
