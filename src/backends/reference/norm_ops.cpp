// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "families_internal.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

struct Statistics {
  double mean, inv_std;
};

Statistics statistics(ConstValues x, std::int64_t begin, std::int64_t width, double epsilon) {
  double mean = 0.0, variance = 0.0;
  for (std::int64_t c = 0; c < width; ++c) mean += x[begin + c];
  mean /= static_cast<double>(width);
  for (std::int64_t c = 0; c < width; ++c) variance += (x[begin + c] - mean) * (x[begin + c] - mean);
  variance /= static_cast<double>(width);
  return {mean, 1.0 / std::sqrt(variance + epsilon)};
}

// One chunk of a modulation tensor [sequences, chunks * width]; 0 for rows of no sequence.
class Chunk {
 public:
  Chunk(TensorView view, std::int64_t width, int chunk)
      : view_(view), stride_(view.present() ? view.shape()[1] : 0), begin_(chunk * width) {}
  Chunk(ConstTensorView view, std::int64_t width, int chunk)
      : Chunk(TensorView(const_cast<void*>(view.raw()), view.dtype(), view.shape()), width, chunk) {}
  double at(std::int32_t sequence, std::int64_t c) const {
    return sequence < 0 ? 0.0 : ConstValues(view_)[sequence * stride_ + begin_ + c];
  }
  void set(std::int64_t sequence, std::int64_t c, double value) const {
    Values(view_).set(sequence * stride_ + begin_ + c, value);
  }

 private:
  TensorView view_;
  std::int64_t stride_, begin_;
};

// With g = the gradient with respect to the normalised values n: inv_std (g - mean(g) - n mean(g n)).
void add_norm_gradient(std::vector<double>& grad, const std::vector<double>& normalised, double inv_std) {
  const auto width = static_cast<double>(grad.size());
  double sum = 0.0, sum_normalised = 0.0;
  for (std::size_t c = 0; c < grad.size(); ++c) {
    sum += grad[c];
    sum_normalised += grad[c] * normalised[c];
  }
  for (std::size_t c = 0; c < grad.size(); ++c)
    grad[c] = inv_std * (grad[c] - sum / width - normalised[c] * sum_normalised / width);
}

class ReferenceNormOps : public NormOps {
 public:
  using NormOps::NormOps;

 private:
  void launch(const NormForward& op) override {
    const auto rows = op.x.shape()[0], width = op.x.shape()[1];
    if (op.delta.present())
      for (std::int64_t i = 0; i < rows * width; ++i)
        Values(op.sum).set(i, ConstValues(op.x)[i] + ConstValues(op.delta)[i]);
    const ConstValues stream = op.delta.present() ? ConstTensorView(op.sum) : op.x;
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto [mean, inv_std] = statistics(stream, r * width, width, op.epsilon);
      Values(op.mean).set(r, mean);
      Values(op.inv_std).set(r, inv_std);
      for (std::int64_t c = 0; c < width; ++c)
        Values(op.y).set(r * width + c,
                         (stream[r * width + c] - mean) * inv_std * ConstValues(op.gain)[c] + ConstValues(op.bias)[c]);
    }
  }

  void launch(const NormBackward& op) override {
    const auto rows = op.sum.shape()[0], width = op.sum.shape()[1];
    const auto n = static_cast<std::size_t>(width);
    std::vector<double> grad(n), normalised(n), grad_gain(n), grad_bias(n);
    for (std::int64_t r = 0; r < rows; ++r) {
      const double mean = ConstValues(op.mean)[r], inv_std = ConstValues(op.inv_std)[r];
      for (std::size_t c = 0; c < n; ++c) {
        const auto i = r * width + static_cast<std::int64_t>(c);
        const double grad_y = ConstValues(op.grad_y)[i];
        normalised[c] = (ConstValues(op.sum)[i] - mean) * inv_std;
        grad[c] = grad_y * ConstValues(op.gain)[static_cast<std::int64_t>(c)];
        grad_gain[c] += grad_y * normalised[c];
        grad_bias[c] += grad_y;
      }
      add_norm_gradient(grad, normalised, inv_std);
      for (std::int64_t c = 0; c < width; ++c)
        Values(op.grad_x).set(r * width + c,
                              grad[static_cast<std::size_t>(c)] +
                                  (op.grad_sum.present() ? ConstValues(op.grad_sum)[r * width + c] : 0.0));
    }
    for (std::int64_t c = 0; c < width; ++c) {
      Values(op.grad_gain).add(c, grad_gain[static_cast<std::size_t>(c)]);
      Values(op.grad_bias).add(c, grad_bias[static_cast<std::size_t>(c)]);
    }
  }

  void launch(const AdaptiveNormForward& op) override {
    const auto rows = op.x.shape()[0], width = op.x.shape()[1];
    const auto* sequences = op.row_sequence.data<std::int32_t>();
    const Chunk gate(op.gate_modulation, width, op.gate_chunk), shift(op.modulation, width, op.shift_chunk),
        scale(op.modulation, width, op.scale_chunk);
    if (op.delta.present())
      for (std::int64_t i = 0; i < rows * width; ++i)
        Values(op.sum).set(i,
                           ConstValues(op.x)[i] + gate.at(sequences[i / width], i % width) * ConstValues(op.delta)[i]);
    const ConstValues stream = op.delta.present() ? ConstTensorView(op.sum) : op.x;
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto [mean, inv_std] = statistics(stream, r * width, width, op.epsilon);
      Values(op.mean).set(r, mean);
      Values(op.inv_std).set(r, inv_std);
      for (std::int64_t c = 0; c < width; ++c)
        Values(op.y).set(r * width + c, (stream[r * width + c] - mean) * inv_std * (1.0 + scale.at(sequences[r], c)) +
                                            shift.at(sequences[r], c));
    }
  }

  void launch(const AdaptiveNormBackward& op) override {
    const auto rows = op.sum.shape()[0], width = op.sum.shape()[1], slots = op.modulation.shape()[0];
    const auto n = static_cast<std::size_t>(width);
    const auto* sequences = op.row_sequence.data<std::int32_t>();
    const Chunk gate(op.gate_modulation, width, op.gate_chunk), scale(op.modulation, width, op.scale_chunk);
    std::vector<double> grad(n), normalised(n), grad_shift(static_cast<std::size_t>(slots) * n),
        grad_scale(grad_shift.size()), grad_gate(grad_shift.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      const double mean = ConstValues(op.mean)[r], inv_std = ConstValues(op.inv_std)[r];
      const auto sequence = sequences[r];
      const auto slot = static_cast<std::size_t>(sequence < 0 ? 0 : sequence) * n;
      for (std::size_t c = 0; c < n; ++c) {
        const auto i = r * width + static_cast<std::int64_t>(c);
        const double grad_y = ConstValues(op.grad_y)[i];
        normalised[c] = (ConstValues(op.sum)[i] - mean) * inv_std;
        grad[c] = grad_y * (1.0 + scale.at(sequence, static_cast<std::int64_t>(c)));
        if (sequence < 0) continue;
        grad_shift[slot + c] += grad_y;
        grad_scale[slot + c] += grad_y * normalised[c];
      }
      add_norm_gradient(grad, normalised, inv_std);
      for (std::size_t c = 0; c < n; ++c) {
        const auto i = r * width + static_cast<std::int64_t>(c);
        if (op.grad_sum.present()) grad[c] += ConstValues(op.grad_sum)[i];
        if (op.delta.present()) {
          Values(op.grad_delta).set(i, gate.at(sequence, static_cast<std::int64_t>(c)) * grad[c]);
          if (sequence >= 0) grad_gate[slot + c] += ConstValues(op.delta)[i] * grad[c];
        }
        Values(op.grad_x).set(i, grad[c]);
      }
    }
    const Chunk out_shift(op.grad_modulation, width, op.shift_chunk),
        out_scale(op.grad_modulation, width, op.scale_chunk), out_gate(op.grad_gate_modulation, width, op.gate_chunk);
    for (std::int64_t i = 0; i < slots * width; ++i) {
      out_shift.set(i / width, i % width, grad_shift[static_cast<std::size_t>(i)]);
      out_scale.set(i / width, i % width, grad_scale[static_cast<std::size_t>(i)]);
      if (op.delta.present()) out_gate.set(i / width, i % width, grad_gate[static_cast<std::size_t>(i)]);
    }
  }
};

}  // namespace

std::unique_ptr<NormOps> make_norm_ops(const Setup& setup) {
  return std::make_unique<ReferenceNormOps>(setup.context);
}

}  // namespace lsd::backends::reference
