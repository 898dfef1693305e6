// SPDX-License-Identifier: Apache-2.0
#include "head_step_internal.h"

#include <Eigen/Core>
#include <cmath>

#include "lsd/core/error.h"

namespace lsd::tasks {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMatrixMap = Eigen::Map<const Matrix>;
using MatrixMap = Eigen::Map<Matrix>;
using ConstRowMap = Eigen::Map<const Eigen::RowVectorXf>;
using RowMap = Eigen::Map<Eigen::RowVectorXf>;

Matrix apply(const DenseLayer& layer, const Matrix& x) {
  const ConstMatrixMap weight(layer.weight.data(), layer.outputs, layer.inputs);
  const ConstRowMap bias(layer.bias.data(), layer.outputs);
  Matrix y = x * weight.transpose();
  y.rowwise() += bias;
  return y;
}

void set_gradient(const Matrix& grad_y, const Matrix& x, DenseLayer& gradient) {
  MatrixMap(gradient.weight.data(), gradient.outputs, gradient.inputs).noalias() = grad_y.transpose() * x;
  RowMap(gradient.bias.data(), gradient.outputs) = grad_y.colwise().sum();
}

// Turns logits into (softmax - onehot) / rows and returns the mean cross-entropy.
double cross_entropy(Matrix& logits, const std::vector<std::int64_t>& classes) {
  double loss = 0.0;
  const auto rows = logits.rows();
  for (Eigen::Index r = 0; r < rows; ++r) {
    const auto target = static_cast<Eigen::Index>(classes[static_cast<std::size_t>(r)]);
    const float largest = logits.row(r).maxCoeff();
    const float at_target = logits(r, target) - largest;
    logits.row(r) = (logits.row(r).array() - largest).exp();
    const float sum = logits.row(r).sum();
    loss += std::log(static_cast<double>(sum)) - static_cast<double>(at_target);
    logits.row(r) /= sum;
    logits(r, target) -= 1.0F;
  }
  logits /= static_cast<float>(rows);
  return loss / static_cast<double>(rows);
}

// Turns outputs [rows, 1] into 2 (y - target) / rows and returns the mean squared error.
double squared_error(Matrix& outputs, const std::vector<float>& values) {
  const ConstMatrixMap target(values.data(), outputs.rows(), 1);
  outputs -= target;
  const double loss = static_cast<double>(outputs.squaredNorm()) / static_cast<double>(outputs.rows());
  outputs *= 2.0F / static_cast<float>(outputs.rows());
  return loss;
}

}  // namespace

std::vector<float> head_forward(const std::vector<DenseLayer>& layers, std::span<const float> x, std::int64_t rows) {
  Matrix y = ConstMatrixMap(x.data(), rows, layers.front().inputs);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    y = apply(layers[i], y);
    if (i + 1 < layers.size()) y = y.array().tanh();
  }
  return {y.data(), y.data() + y.size()};
}

double head_loss(const std::vector<DenseLayer>& layers, std::span<const float> x, const HeadTargets& targets,
                 std::vector<DenseLayer>& gradients) {
  check(layers.size() == 1 || layers.size() == 2, "a head has one or two layers");
  const bool classify = !targets.classes.empty();
  const auto rows = static_cast<Eigen::Index>(classify ? targets.classes.size() : targets.values.size());
  const Matrix input = ConstMatrixMap(x.data(), rows, layers.front().inputs);
  const bool two = layers.size() == 2;
  const Matrix hidden = two ? Matrix(apply(layers[0], input).array().tanh()) : Matrix();
  Matrix grad = apply(layers.back(), two ? hidden : input);
  const double loss = classify ? cross_entropy(grad, targets.classes) : squared_error(grad, targets.values);
  set_gradient(grad, two ? hidden : input, gradients.back());
  if (two) {
    const ConstMatrixMap weight(layers[1].weight.data(), layers[1].outputs, layers[1].inputs);
    Matrix grad_hidden = grad * weight;
    grad_hidden.array() *= 1.0F - hidden.array().square();
    set_gradient(grad_hidden, input, gradients[0]);
  }
  return loss;
}

}  // namespace lsd::tasks
