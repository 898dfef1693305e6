// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <cstring>

#include "cpu_internal.h"
#include "lsd/core/error.h"

namespace lsd::backends::cpu {
namespace {

GeluKind kind_of(Gelu gelu) {
  return gelu == Gelu::erf ? GeluKind::erf : GeluKind::tanh;
}

// Reading a token outside the table would read foreign memory, so all are looked at first.
void check_tokens(ConstTensorView tokens, std::int64_t vocab) {
  std::uint32_t worst = 0;
  for (const auto id : tokens.span<std::int32_t>()) worst = std::max(worst, static_cast<std::uint32_t>(id));
  check(tokens.elements() == 0 || worst < static_cast<std::uint32_t>(vocab), "a token lies within the embedding table");
}

class CpuPointwiseOps : public PointwiseOps {
 public:
  explicit CpuPointwiseOps(const Setup& setup) : PointwiseOps(setup.context), setup_(setup) {}

 private:
  // Blocks of a flat tensor: large enough that a thread's turn costs nothing.
  static constexpr std::int64_t kBlock = 16 * kChunk;

  // made = body(float32 pieces of the inputs), chunk by chunk.
  template <std::size_t kInputs, class Body>
  void map(const std::array<ConstTensorView, kInputs>& inputs, TensorView output, Body&& body) {
    const auto count = output.elements();
    const Writer writer(output, setup_.kernels);
    parallel_rows(setup_.threads, count, kBlock, [&](std::int64_t first, std::int64_t last, int) {
      alignas(64) float buffer[kInputs + 1][kChunk];
      std::array<const float*, kInputs> in;
      for (std::int64_t begin = first; begin < last; begin += kChunk) {
        const auto here = std::min(kChunk, last - begin);
        for (std::size_t i = 0; i < kInputs; ++i)
          in[i] = Reader(inputs[i], setup_.kernels).read(begin, here, buffer[i]);
        float* made = writer.target(begin, buffer[kInputs]);
        body(in, made, here);
        writer.finish(begin, here, made);
      }
    });
  }

  void launch(const Fill& op) override {
    if (op.y.dtype() == DType::int32)
      std::ranges::fill(op.y.span<std::int32_t>(), static_cast<std::int32_t>(op.value));
    else
      map<0>({}, op.y, [&](const auto&, float* y, std::int64_t count) { std::fill_n(y, count, op.value); });
  }
  void launch(const Cast& op) override {
    map<1>({op.x}, op.y, [&](const auto& in, float* y, std::int64_t count) { std::copy_n(in[0], count, y); });
  }
  void launch(const GeluForward& op) override {
    map<1>({op.x}, op.y, [&](const auto& in, float* y, std::int64_t count) {
      setup_.kernels.gelu(in[0], y, count, kind_of(op.gelu));
    });
  }
  void launch(const GeluBackward& op) override {
    map<2>({op.grad_y, op.x}, op.grad_x, [&](const auto& in, float* grad_x, std::int64_t count) {
      setup_.kernels.gelu_backward(in[0], in[1], grad_x, count, kind_of(op.gelu));
    });
  }
  void launch(const SiluForward& op) override {
    map<1>({op.x}, op.y, [&](const auto& in, float* y, std::int64_t count) { setup_.kernels.silu(in[0], y, count); });
  }
  void launch(const SiluBackward& op) override {
    map<2>({op.grad_y, op.x}, op.grad_x, [&](const auto& in, float* grad_x, std::int64_t count) {
      setup_.kernels.silu_backward(in[0], in[1], grad_x, count);
    });
  }

  // made = body(row, begin, pieces of the inputs) for pieces [begin, begin + count) of every row.
  template <std::size_t kInputs, class Body>
  void map_rows(const std::array<ConstTensorView, kInputs>& inputs, TensorView output, Body&& body) {
    const auto rows = output.shape()[0], width = output.shape()[1];
    const Writer writer(output, setup_.kernels);
    parallel_rows(setup_.threads, rows, kRowBlock, [&](std::int64_t first, std::int64_t last, int) {
      alignas(64) float buffer[kInputs + 1][kChunk];
      std::array<const float*, kInputs> in;
      for (std::int64_t r = first; r < last; ++r)
        for (std::int64_t c = 0; c < width; c += kChunk) {
          const auto here = std::min(kChunk, width - c), begin = r * width + c;
          for (std::size_t i = 0; i < kInputs; ++i)
            in[i] = Reader(inputs[i], setup_.kernels).read(begin, here, buffer[i]);
          float* made = writer.target(begin, buffer[kInputs]);
          body(r, c, in, made, here);
          writer.finish(begin, here, made);
        }
    });
  }

  void launch(const EmbeddingForward& op) override {
    check_tokens(op.tokens, op.table.shape()[0]);
    const auto width = op.table.shape()[1];
    const Reader table(op.table, setup_.kernels);
    map_rows<0>({}, op.y, [&](std::int64_t r, std::int64_t c, const auto&, float* y, std::int64_t count) {
      float buffer[kChunk];
      const float scale = op.row_scale.present() ? op.row_scale.data<float>()[r] : 1.0F;
      setup_.kernels.scale(scale, table.read(op.tokens.data<std::int32_t>()[r] * width + c, count, buffer), y, count);
    });
  }

  // Columns are shared out, so that every sum is taken in the order of the rows.
  void launch(const EmbeddingBackward& op) override {
    check_tokens(op.tokens, op.grad_table.shape()[0]);
    const auto rows = op.grad_y.shape()[0], width = op.grad_table.shape()[1];
    constexpr std::int64_t kColumns = 64;
    const Reader grad_y(op.grad_y, setup_.kernels);
    parallel_rows(setup_.threads, width, kColumns, [&](std::int64_t first, std::int64_t last, int) {
      float buffer[kColumns];
      for (std::int64_t r = 0; r < rows; ++r) {
        const float scale = op.row_scale.present() ? op.row_scale.data<float>()[r] : 1.0F;
        setup_.kernels.add_scaled(scale, grad_y.read(r * width + first, last - first, buffer),
                                  op.grad_table.data<float>() + op.tokens.data<std::int32_t>()[r] * width + first,
                                  last - first);
      }
    });
  }

  void launch(const ColumnAffine& op) override {
    map_rows<1>({op.x}, op.y, [&](std::int64_t, std::int64_t c, const auto& in, float* y, std::int64_t count) {
      setup_.kernels.affine(in[0], op.scale.data<float>() + c, op.shift.data<float>() + c, y, count);
    });
  }

  void launch(const LinearCombination& op) override {
    map_rows<2>({op.x, op.y}, op.out,
                [&](std::int64_t r, std::int64_t, const auto& in, float* out, std::int64_t count) {
                  const auto sequence = op.row_sequence.data<std::int32_t>()[r];
                  if (sequence < 0) {
                    std::fill_n(out, count, 0.0F);
                    return;
                  }
                  const float* pair = op.coefficients.data<float>() + 2 * sequence;
                  setup_.kernels.linear_combination(pair[0], in[0], pair[1], in[1], out, count);
                });
  }

  void launch(const SinusoidalFeatures& op) override {
    const auto sequences = op.time.elements(), features = op.out.shape()[1], half = features / 2;
    const Writer out(op.out, setup_.kernels);
    for (std::int64_t k = 0; k < half; k += kChunk) {
      const auto count = std::min(kChunk, half - k);
      double turns_per_time[kChunk];
      for (std::int64_t i = 0; i < count; ++i)
        turns_per_time[i] =
            1000.0 / (2.0 * M_PI) * std::pow(10000.0, -static_cast<double>(k + i) / static_cast<double>(half));
      parallel_rows(setup_.threads, sequences, kRowBlock, [&](std::int64_t first, std::int64_t last, int) {
        float cosine[kChunk], sine[kChunk];
        for (std::int64_t s = first; s < last; ++s) {
          float* to_cosine = out.target(s * features + k, cosine);
          float* to_sine = out.target(s * features + half + k, sine);
          setup_.kernels.cosines(op.time.data<float>()[s], turns_per_time, to_cosine, to_sine, count);
          out.finish(s * features + k, count, to_cosine);
          out.finish(s * features + half + k, count, to_sine);
        }
      });
    }
  }

  Setup setup_;
};

}  // namespace

std::unique_ptr<PointwiseOps> make_pointwise_ops(const Setup& setup) {
  return std::make_unique<CpuPointwiseOps>(setup);
}

}  // namespace lsd::backends::cpu
