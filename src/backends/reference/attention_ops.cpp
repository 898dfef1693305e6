// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "families_internal.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

using Matrix = std::vector<double>;  // [length, head_width]

// Where one head of one sequence stands in a packed tensor.
struct Slice {
  std::int64_t begin, length, stride, column, head_width;
  std::int64_t at(std::int64_t row, std::int64_t c) const { return (begin + row) * stride + column + c; }
};

Matrix read(ConstTensorView view, Slice slice) {
  Matrix out;
  for (std::int64_t r = 0; r < slice.length; ++r)
    for (std::int64_t c = 0; c < slice.head_width; ++c) out.push_back(ConstValues(view)[slice.at(r, c)]);
  return out;
}

void write(TensorView view, Slice slice, const Matrix& values) {
  for (std::int64_t r = 0; r < slice.length; ++r)
    for (std::int64_t c = 0; c < slice.head_width; ++c)
      Values(view).set(slice.at(r, c), values[static_cast<std::size_t>(r * slice.head_width + c)]);
}

// Rotates every row by its position; `direction` -1 undoes it (the gradient of a rotation is its inverse).
void rotate(Matrix& u, Slice slice, ConstTensorView row_position, const Rotary& rotary, double direction) {
  const auto half = slice.head_width / 2;
  for (std::int64_t r = 0; r < slice.length; ++r)
    for (std::int64_t i = 0; i < half; ++i) {
      const double frequency = rotary.frequency(i, slice.head_width);
      const double angle = direction * row_position.data<std::int32_t>()[slice.begin + r] * frequency;
      auto& first = u[static_cast<std::size_t>(r * slice.head_width + i)];
      auto& second = u[static_cast<std::size_t>(r * slice.head_width + half + i)];
      const double a = first, b = second;
      first = a * std::cos(angle) - b * std::sin(angle);
      second = b * std::cos(angle) + a * std::sin(angle);
    }
}

double dot(const Matrix& a, std::int64_t row_a, const Matrix& b, std::int64_t row_b, std::int64_t width) {
  double sum = 0.0;
  for (std::int64_t c = 0; c < width; ++c)
    sum += a[static_cast<std::size_t>(row_a * width + c)] * b[static_cast<std::size_t>(row_b * width + c)];
  return sum;
}

void add_scaled(Matrix& to, std::int64_t row_to, double factor, const Matrix& from, std::int64_t row_from,
                std::int64_t width) {
  for (std::int64_t c = 0; c < width; ++c)
    to[static_cast<std::size_t>(row_to * width + c)] += factor * from[static_cast<std::size_t>(row_from * width + c)];
}

// Calls body(head, begin, length) for every head of every sequence.
template <class Body>
void for_each_head(const PackedLayout& layout, int heads, Body&& body) {
  const auto* offsets = layout.offsets.data<std::int32_t>();
  for (std::int64_t s = 0; s < layout.max_sequences(); ++s)
    for (int head = 0; head < heads; ++head) body(head, offsets[s], offsets[s + 1] - offsets[s]);
}

void zero_dead_rows(const PackedLayout& layout, TensorView view) {
  const auto columns = view.shape()[1];
  for (std::int64_t r = 0; r < layout.rows(); ++r)
    if (layout.row_sequence.data<std::int32_t>()[r] < 0)
      for (std::int64_t c = 0; c < columns; ++c) Values(view).set(r * columns + c, 0.0);
}

class ReferenceAttentionOps : public AttentionOps {
 public:
  using AttentionOps::AttentionOps;

 private:
  void launch(const AttentionForward& op) override {
    const auto rows = op.out.shape()[0], width = op.out.shape()[1], head_width = width / op.heads;
    const double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
    zero_dead_rows(op.layout, op.out);
    if (op.log_sum_exp.present())
      for (std::int64_t i = 0; i < op.heads * rows; ++i) Values(op.log_sum_exp).set(i, 0.0);
    for_each_head(op.layout, op.heads, [&](int head, std::int64_t begin, std::int64_t length) {
      const Slice q_slice{begin, length, 3 * width, head * head_width, head_width};
      const Slice k_slice{begin, length, 3 * width, width + head * head_width, head_width};
      const Slice v_slice{begin, length, 3 * width, 2 * width + head * head_width, head_width};
      Matrix q = read(op.qkv, q_slice), k = read(op.qkv, k_slice), v = read(op.qkv, v_slice);
      rotate(q, q_slice, op.layout.row_position, op.rotary, 1.0);
      rotate(k, k_slice, op.layout.row_position, op.rotary, 1.0);
      Matrix out(q.size(), 0.0), score(static_cast<std::size_t>(length));
      for (std::int64_t i = 0; i < length; ++i) {
        for (std::int64_t j = 0; j < length; ++j)
          score[static_cast<std::size_t>(j)] = scale * dot(q, i, k, j, head_width);
        const double largest = *std::max_element(score.begin(), score.end());
        double total = 0.0;
        for (auto& value : score) total += value = std::exp(value - largest);
        for (std::int64_t j = 0; j < length; ++j)
          add_scaled(out, i, score[static_cast<std::size_t>(j)] / total, v, j, head_width);
        if (op.log_sum_exp.present()) Values(op.log_sum_exp).set(head * rows + begin + i, largest + std::log(total));
      }
      write(op.out, {begin, length, width, head * head_width, head_width}, out);
    });
  }

  void launch(const AttentionBackward& op) override {
    const auto rows = op.out.shape()[0], width = op.out.shape()[1], head_width = width / op.heads;
    const double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
    zero_dead_rows(op.layout, op.grad_qkv);
    for_each_head(op.layout, op.heads, [&](int head, std::int64_t begin, std::int64_t length) {
      const Slice out_slice{begin, length, width, head * head_width, head_width};
      const Slice q_slice{begin, length, 3 * width, head * head_width, head_width};
      const Slice k_slice{begin, length, 3 * width, width + head * head_width, head_width};
      const Slice v_slice{begin, length, 3 * width, 2 * width + head * head_width, head_width};
      Matrix q = read(op.qkv, q_slice), k = read(op.qkv, k_slice);
      const Matrix v = read(op.qkv, v_slice), out = read(op.out, out_slice), grad_out = read(op.grad_out, out_slice);
      rotate(q, q_slice, op.layout.row_position, op.rotary, 1.0);
      rotate(k, k_slice, op.layout.row_position, op.rotary, 1.0);
      Matrix grad_q(q.size(), 0.0), grad_k(q.size(), 0.0), grad_v(q.size(), 0.0);
      for (std::int64_t i = 0; i < length; ++i) {
        const double log_sum_exp = ConstValues(op.log_sum_exp)[head * rows + begin + i];
        const double mean_gradient = dot(grad_out, i, out, i, head_width);  // sum_j p_ij dp_ij
        for (std::int64_t j = 0; j < length; ++j) {
          const double p = std::exp(scale * dot(q, i, k, j, head_width) - log_sum_exp);
          const double grad_score = p * (dot(grad_out, i, v, j, head_width) - mean_gradient) * scale;
          add_scaled(grad_q, i, grad_score, k, j, head_width);
          add_scaled(grad_k, j, grad_score, q, i, head_width);
          add_scaled(grad_v, j, p, grad_out, i, head_width);
        }
      }
      rotate(grad_q, q_slice, op.layout.row_position, op.rotary, -1.0);
      rotate(grad_k, k_slice, op.layout.row_position, op.rotary, -1.0);
      write(op.grad_qkv, q_slice, grad_q);
      write(op.grad_qkv, k_slice, grad_k);
      write(op.grad_qkv, v_slice, grad_v);
    });
  }
};

}  // namespace

std::unique_ptr<AttentionOps> make_attention_ops(const Setup& setup) {
  return std::make_unique<ReferenceAttentionOps>(setup.context);
}

}  // namespace lsd::backends::reference
