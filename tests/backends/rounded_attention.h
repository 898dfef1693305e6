// SPDX-License-Identifier: Apache-2.0
#pragma once
// Attention as a kernel with bfloat16 products must round, in float64 otherwise: rotated q and k, the weights that v is
// multiplied by, the gradients of the scores, and the results. What remains of a kernel's difference to the reference
// is compared with this one's, so that a bound follows from a case's own values and from nothing else
// (docs/decisions/0003-attention-on-hopper.md).

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "lsd/tensor/attention_ops.h"
#include "lsd/tensor/dtype.h"

namespace lsd::testing {

class RoundedAttention {
 public:
  static void run(const AttentionForward& op) {
    std::memset(op.out.raw(), 0, static_cast<std::size_t>(op.out.bytes()));  // dead rows
    std::memset(op.log_sum_exp.raw(), 0, static_cast<std::size_t>(op.log_sum_exp.bytes()));
    for_each_head(op.qkv, op.layout, op.heads, op.rotary, [&](const Head& h) {
      auto* sums = op.log_sum_exp.data<float>() + h.number * op.qkv.shape()[0] + h.begin;
      auto* out = op.out.data<BFloat16>();
      std::vector<double> weights(h.length);
      for (std::size_t i = 0; i < h.length; ++i) {
        for (std::size_t j = 0; j < h.length; ++j) weights[j] = h.scale * dot(h.q, i, h.k, j, h.width);
        const double largest = *std::max_element(weights.begin(), weights.end());
        double total = 0.0;
        for (auto& weight : weights) total += weight = std::exp(weight - largest);
        for (std::size_t c = 0; c < h.width; ++c) {
          double sum = 0.0;
          for (std::size_t j = 0; j < h.length; ++j) sum += rounded(weights[j]) * h.v[j * h.width + c];
          out[h.at(i, c, 1, 0)] = BFloat16(static_cast<float>(sum / total));
        }
        sums[i] = static_cast<float>(largest + std::log(total));
      }
    });
  }

  static void run(const AttentionBackward& op) {
    std::memset(op.grad_qkv.raw(), 0, static_cast<std::size_t>(op.grad_qkv.bytes()));
    for_each_head(op.qkv, op.layout, op.heads, op.rotary, [&](const Head& h) {
      const auto* sums = op.log_sum_exp.data<float>() + h.number * op.qkv.shape()[0] + h.begin;
      const auto grad_out = h.read(op.grad_out.data<BFloat16>(), 1, 0), out = h.read(op.out.data<BFloat16>(), 1, 0);
      std::vector<double> grad_q(h.q.size()), grad_k(h.q.size()), grad_v(h.q.size());
      for (std::size_t i = 0; i < h.length; ++i) {
        const double delta = dot(grad_out, i, out, i, h.width);
        for (std::size_t j = 0; j < h.length; ++j) {
          const double p = std::exp(h.scale * dot(h.q, i, h.k, j, h.width) - static_cast<double>(sums[i]));
          const double ds = h.scale * rounded(p * (dot(grad_out, i, h.v, j, h.width) - delta));
          for (std::size_t c = 0; c < h.width; ++c) {
            grad_q[i * h.width + c] += ds * h.k[j * h.width + c];
            grad_k[j * h.width + c] += ds * h.q[i * h.width + c];
            grad_v[j * h.width + c] += rounded(p) * grad_out[i * h.width + c];
          }
        }
      }
      h.rotate(grad_q, -1.0);
      h.rotate(grad_k, -1.0);
      auto* to = op.grad_qkv.data<BFloat16>();
      for (std::size_t i = 0; i < h.length; ++i)
        for (std::size_t c = 0; c < h.width; ++c) {
          to[h.at(i, c, 3, 0)] = BFloat16(static_cast<float>(grad_q[i * h.width + c]));
          to[h.at(i, c, 3, 1)] = BFloat16(static_cast<float>(grad_k[i * h.width + c]));
          to[h.at(i, c, 3, 2)] = BFloat16(static_cast<float>(grad_v[i * h.width + c]));
        }
    });
  }

 private:
  using Matrix = std::vector<double>;  // [length, width]

  static double rounded(double x) { return static_cast<double>(static_cast<float>(BFloat16(static_cast<float>(x)))); }
  static double dot(const Matrix& a, std::size_t i, const Matrix& b, std::size_t j, std::size_t width) {
    double sum = 0.0;
    for (std::size_t c = 0; c < width; ++c) sum += a[i * width + c] * b[j * width + c];
    return sum;
  }

  struct Head {
    std::int64_t number, heads, begin;
    std::size_t length, width;
    const std::int32_t* positions;  // of its rows
    Rotary rotary;
    double scale;
    Matrix q, k, v;  // q and k rotated and rounded

    // Element (i, c) of this head in a tensor of `parts` widths a row.
    std::int64_t at(std::size_t i, std::size_t c, std::int64_t parts, std::int64_t part) const {
      const auto its_width = static_cast<std::int64_t>(width);
      return ((begin + static_cast<std::int64_t>(i)) * parts + part) * heads * its_width + number * its_width +
             static_cast<std::int64_t>(c);
    }
    Matrix read(const BFloat16* data, std::int64_t parts, std::int64_t part) const {
      Matrix out;
      for (std::size_t i = 0; i < length; ++i)
        for (std::size_t c = 0; c < width; ++c)
          out.push_back(static_cast<double>(static_cast<float>(data[at(i, c, parts, part)])));
      return out;
    }
    void rotate(Matrix& u, double direction) const {
      for (std::size_t i = 0; i < length; ++i)
        for (std::size_t pair = 0; pair < width / 2; ++pair) {
          const double angle = direction * positions[i] *
                               rotary.frequency(static_cast<std::int64_t>(pair), static_cast<std::int64_t>(width));
          auto &a = u[i * width + pair], &b = u[i * width + width / 2 + pair];
          const double first = a * std::cos(angle) - b * std::sin(angle);
          b = b * std::cos(angle) + a * std::sin(angle);
          a = first;
        }
    }
  };

  template <class Body>
  static void for_each_head(ConstTensorView qkv, const PackedLayout& layout, int heads, const Rotary& rotary,
                            const Body& body) {
    const auto* offsets = layout.offsets.data<std::int32_t>();
    for (std::int64_t s = 0; s < layout.max_sequences(); ++s)
      for (int number = 0; number < heads && offsets[s] < offsets[s + 1]; ++number) {
        const auto width = static_cast<std::size_t>(qkv.shape()[1] / 3 / heads);
        Head h{number,     heads,
               offsets[s], static_cast<std::size_t>(offsets[s + 1] - offsets[s]),
               width,      layout.row_position.data<std::int32_t>() + offsets[s],
               rotary,     1.0 / std::sqrt(static_cast<double>(width)),
               {},         {},
               {}};
        const auto* data = qkv.data<BFloat16>();
        h.q = h.read(data, 3, 0);
        h.k = h.read(data, 3, 1);
        h.v = h.read(data, 3, 2);
        for (auto* u : {&h.q, &h.k}) {
          h.rotate(*u, 1.0);
          std::transform(u->begin(), u->end(), u->begin(), rounded);
        }
        body(h);
      }
  }
};

}  // namespace lsd::testing
