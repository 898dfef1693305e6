// SPDX-License-Identifier: Apache-2.0
// Layer norms: a block holds one row in registers, eight neighbouring columns per thread, so that every array is read
// and written once. Blocks of rows keep the sums that parameters and conditioning need and leave them as partial sums,
// which a second kernel adds up in a fixed order.
#include <string>

#include "device_values.cuh"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

struct RowStatistics {
  float mean, inv_std;
};

// Mean, then the mean square of what is left: in this order no digits are lost. `pieces` are two areas of shared
// memory.
template <int N>
__device__ __forceinline__ RowStatistics statistics(const float (&value)[N], bool active, std::int64_t width,
                                                    float epsilon, float (&pieces)[2][kWarp]) {
  float sum[1] = {0.0F};
#pragma unroll
  for (int k = 0; k < N; ++k) sum[0] += active ? value[k] : 0.0F;
  block_sum(sum, pieces[0]);
  const float mean = sum[0] / static_cast<float>(width);
  float square[1] = {0.0F};
#pragma unroll
  for (int k = 0; k < N; ++k) square[0] += active ? (value[k] - mean) * (value[k] - mean) : 0.0F;
  block_sum(square, pieces[1]);
  return {mean, 1.0F / sqrtf(square[0] / static_cast<float>(width) + epsilon)};
}

// One chunk of a modulation tensor [sequences, stride].
struct Chunk {
  std::int64_t stride = 0, begin = 0;
};

struct ForwardArguments {
  std::int64_t rows, width;
  float epsilon;
  float *mean, *inv_std;
  const std::int32_t* row_sequence;  // adaptive norms only
  Chunk gate, shift, scale;
};

// gain and bias are [width]; for an adaptive norm they are the modulation, read by sequence, and gate is its own
// tensor.
template <int N, bool kAdaptive, class S, class A>
__global__ void __launch_bounds__(kMaxRowThreads)
    norm_forward_kernel(ForwardArguments a, const S* x, const A* delta, const A* gate, const A* gain, const A* bias,
                        S* sum, A* y) {
  __shared__ float pieces[2][kWarp];
  const std::int64_t c = threadIdx.x * N;
  const bool active = c < a.width;
  float factor[N] = {}, add[N] = {};
  if (!kAdaptive && active) {
    load<N>(gain + c, factor);
    load<N>(bias + c, add);
  }
  for (std::int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const auto at = row * a.width + c;
    const std::int64_t sequence = kAdaptive ? a.row_sequence[row] : 0;
    float value[N] = {};
    if (active) {
      load<N>(x + at, value);
      if (kAdaptive) {
#pragma unroll
        for (int k = 0; k < N; ++k) factor[k] = add[k] = 0.0F;
        if (sequence >= 0) {
          load<N>(gain + sequence * a.scale.stride + a.scale.begin + c, factor);
          load<N>(bias + sequence * a.shift.stride + a.shift.begin + c, add);
        }
#pragma unroll
        for (int k = 0; k < N; ++k) factor[k] += 1.0F;
      }
      if (delta != nullptr) {
        float more[N];
        load<N>(delta + at, more);
        if (kAdaptive) {
          float share[N] = {};
          if (sequence >= 0) load<N>(gate + sequence * a.gate.stride + a.gate.begin + c, share);
#pragma unroll
          for (int k = 0; k < N; ++k) more[k] *= share[k];
        }
#pragma unroll
        for (int k = 0; k < N; ++k) value[k] = stored_as<S>(value[k] + more[k]);
        store<N>(sum + at, value);
      }
    }
    const auto [mean, inv_std] = statistics<N>(value, active, a.width, a.epsilon, pieces);
    if (active) {
#pragma unroll
      for (int k = 0; k < N; ++k) value[k] = (value[k] - mean) * inv_std * factor[k] + add[k];
      store<N>(y + at, value);
    }
    if (threadIdx.x == 0) {
      a.mean[row] = mean;
      a.inv_std[row] = inv_std;
    }
  }
}

struct BackwardArguments {
  std::int64_t width;
  RowBlocks blocks;
  const float *mean, *inv_std;
  float* partial;  // [blocks, 2, width]: gain's gradient, then bias's
};

// g = gradient with respect to the normalised values n; the row's gradient is inv_std (g - mean(g) - n mean(g n)).
template <int N>
__device__ __forceinline__ void row_gradient(float (&g)[N], const float (&n)[N], float inv_std, std::int64_t width,
                                             float* pieces) {
  float sums[2] = {0.0F, 0.0F};
#pragma unroll
  for (int k = 0; k < N; ++k) {
    sums[0] += g[k];
    sums[1] += g[k] * n[k];
  }
  block_sum(sums, pieces);
  const float mean = sums[0] / static_cast<float>(width), mean_product = sums[1] / static_cast<float>(width);
#pragma unroll
  for (int k = 0; k < N; ++k) g[k] = inv_std * (g[k] - mean - n[k] * mean_product);
}

template <int N, class S, class A, class G>
__global__ void __launch_bounds__(kMaxRowThreads)
    norm_backward_kernel(BackwardArguments a, const G* grad_y, const S* sum, const A* gain, const S* grad_sum,
                         S* grad_x) {
  __shared__ float pieces[2][2 * kWarp];
  const std::int64_t c = threadIdx.x * N;
  const bool active = c < a.width;
  float factor[N] = {}, grad_gain[N] = {}, grad_bias[N] = {};
  if (active) load<N>(gain + c, factor);
  const auto end = a.blocks.end(blockIdx.x);
  for (auto row = a.blocks.begin(blockIdx.x); row < end; ++row) {
    const auto at = row * a.width + c;
    const float mean = a.mean[row], inv_std = a.inv_std[row];
    float g[N] = {}, n[N] = {}, stream[N] = {};
    if (active) {
      load<N>(grad_y + at, g);
      load<N>(sum + at, n);
      if (grad_sum != nullptr) load<N>(grad_sum + at, stream);
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      n[k] = active ? (n[k] - mean) * inv_std : 0.0F;
      grad_gain[k] += g[k] * n[k];
      grad_bias[k] += g[k];
      g[k] *= factor[k];
    }
    row_gradient<N>(g, n, inv_std, a.width, pieces[row % 2]);
    if (!active) continue;
#pragma unroll
    for (int k = 0; k < N; ++k) g[k] += stream[k];
    store<N>(grad_x + at, g);
  }
  if (!active) return;
  float* partial = a.partial + std::int64_t{blockIdx.x} * 2 * a.width + c;
  store<N>(partial, grad_gain);
  store<N>(partial + a.width, grad_bias);
}

struct AdaptiveBackwardArguments {
  std::int64_t width;
  SegmentCut segments;
  const float *mean, *inv_std;
  const std::int32_t* row_sequence;
  Chunk gate, scale;
  float* partial;  // [pieces, 3, width]: shift, scale, gate
};

template <int N>
__device__ __forceinline__ void store_pieces(const AdaptiveBackwardArguments& a, std::int64_t sequence, std::int64_t c,
                                             float (&sums)[3][N]) {
  float* partial = a.partial + SegmentCut::piece(blockIdx.x, sequence) * 3 * a.width + c;
#pragma unroll
  for (int part = 0; part < 3; ++part) {
    store<N>(partial + part * a.width, sums[part]);
#pragma unroll
    for (int k = 0; k < N; ++k) sums[part][k] = 0.0F;
  }
}

template <int N, class S, class A, class G>
__global__ void __launch_bounds__(kMaxRowThreads)
    adaptive_backward_kernel(AdaptiveBackwardArguments a, const G* grad_y, const S* sum, const A* modulation,
                             const S* grad_sum, const A* delta, const A* gate_modulation, S* grad_x, A* grad_delta) {
  __shared__ float pieces[2][2 * kWarp];
  const std::int64_t c = threadIdx.x * N;
  const bool active = c < a.width;
  float sums[3][N] = {}, factor[N] = {}, gate[N] = {};
  std::int64_t current = -1;
  const auto begin = a.segments.cut.begin(blockIdx.x), end = a.segments.cut.end(blockIdx.x);
  for (auto row = begin; row < end; ++row) {
    const auto at = row * a.width + c;
    const std::int64_t sequence = a.row_sequence[row];
    if (row == begin || sequence != current) {
      if (active && row > begin && current >= 0) store_pieces<N>(a, current, c, sums);
      current = sequence;
#pragma unroll
      for (int k = 0; k < N; ++k) factor[k] = gate[k] = 0.0F;
      if (active && sequence >= 0) {
        load<N>(modulation + sequence * a.scale.stride + a.scale.begin + c, factor);
        if (delta != nullptr) load<N>(gate_modulation + sequence * a.gate.stride + a.gate.begin + c, gate);
      }
    }
    const float mean = a.mean[row], inv_std = a.inv_std[row];
    float g[N] = {}, n[N] = {}, stream[N] = {}, branch[N] = {};
    if (active) {
      load<N>(grad_y + at, g);
      load<N>(sum + at, n);
      if (grad_sum != nullptr) load<N>(grad_sum + at, stream);
      if (delta != nullptr) load<N>(delta + at, branch);
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      n[k] = active ? (n[k] - mean) * inv_std : 0.0F;
      sums[0][k] += g[k];
      sums[1][k] += g[k] * n[k];
      g[k] *= 1.0F + factor[k];
    }
    row_gradient<N>(g, n, inv_std, a.width, pieces[row % 2]);
    if (!active) continue;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      g[k] += stream[k];
      sums[2][k] += branch[k] * g[k];
      branch[k] = gate[k] * g[k];
    }
    store<N>(grad_x + at, g);
    if (delta != nullptr) store<N>(grad_delta + at, branch);
  }
  if (active && current >= 0) store_pieces<N>(a, current, c, sums);
}

struct PieceSums {
  std::int64_t width;
  SegmentCut segments;
  const std::int32_t* offsets;
  const float* partial;  // [pieces, 3, width]
  int part;
  Chunk to;
};

// One chunk of a modulation's gradient: the pieces of each sequence, in order.
template <class A>
__global__ void sum_pieces_kernel(PieceSums a, A* out) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= a.segments.sequences * a.width) return;
  const auto sequence = i / a.width, c = i % a.width;
  const std::int64_t begin = a.offsets[sequence], end = a.offsets[sequence + 1];
  float sum = 0.0F;
  for (auto block = a.segments.first_block(begin); block < a.segments.last_block(begin, end); ++block)
    sum += a.partial[(SegmentCut::piece(block, sequence) * 3 + a.part) * a.width + c];
  const float value[1] = {sum};
  store<1>(out + sequence * a.to.stride + a.to.begin + c, value);
}

unsigned threads_for(std::int64_t width, int vector) {
  const auto threads = row_threads(width, vector);
  check(threads <= kMaxRowThreads, "a norm's width is at most 5120 and a multiple of 8, or at most 640");
  return static_cast<unsigned>(threads);
}

Chunk chunk_of(ConstTensorView modulation, std::int64_t width, int chunk) {
  return modulation.present() ? Chunk{modulation.shape()[1], chunk * width} : Chunk{};
}

// Rows beyond this many are taken by the same blocks in turn.
constexpr std::int64_t kForwardBlocks = 8192;

class CudaNormOps : public NormOps {
 public:
  explicit CudaNormOps(CudaContext& context) : NormOps(context.ops), context_(context) {}

 private:
  std::size_t scratch_bytes(const NormBackward& op) const override {
    const auto rows = op.sum.shape()[0], width = op.sum.shape()[1];
    return static_cast<std::size_t>(column_sum_blocks(rows, width).blocks() * 2 * width) * sizeof(float);
  }
  std::size_t scratch_bytes(const AdaptiveNormBackward& op) const override {
    const auto segments = segment_cut(op.sum.shape()[0], op.modulation.shape()[0]);
    return static_cast<std::size_t>(segments.pieces() * 3 * op.sum.shape()[1]) * sizeof(float);
  }
  void launch(const NormForward& op) override;
  void launch(const NormBackward& op) override;
  void launch(const AdaptiveNormForward& op) override;
  void launch(const AdaptiveNormBackward& op) override;
  void sum_pieces(const AdaptiveNormBackward& op, const float* partial, int part, TensorView to, int chunk);

  CudaContext& context_;
};

void CudaNormOps::launch(const NormForward& op) {
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  if (rows == 0) return;
  const ForwardArguments arguments{.rows = rows,
                                   .width = width,
                                   .epsilon = op.epsilon,
                                   .mean = op.mean.data<float>(),
                                   .inv_std = op.inv_std.data<float>(),
                                   .row_sequence = nullptr};
  const auto blocks = static_cast<unsigned>(std::min(rows, kForwardBlocks));
  visit_vector(width, {op.x.raw(), op.delta.raw(), op.gain.raw(), op.bias.raw(), op.sum.raw(), op.y.raw()},
               [&]<int N>(IntTag<N>) {
                 visit_type(op.x.dtype(), [&]<class S>(TypeTag<S>) {
                   visit_type(op.y.dtype(), [&]<class A>(TypeTag<A>) {
                     norm_forward_kernel<N, false><<<blocks, threads_for(width, N), 0, context_.stream>>>(
                         arguments, pointer_to<S>(op.x), pointer_to<A>(op.delta), static_cast<const A*>(nullptr),
                         pointer_to<A>(op.gain), pointer_to<A>(op.bias), pointer_to<S>(op.sum), pointer_to<A>(op.y));
                   });
                 });
               });
  check_launch("norm");
}

void CudaNormOps::launch(const AdaptiveNormForward& op) {
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  if (rows == 0) return;
  const ForwardArguments arguments{.rows = rows,
                                   .width = width,
                                   .epsilon = op.epsilon,
                                   .mean = op.mean.data<float>(),
                                   .inv_std = op.inv_std.data<float>(),
                                   .row_sequence = op.row_sequence.data<std::int32_t>(),
                                   .gate = chunk_of(op.gate_modulation, width, op.gate_chunk),
                                   .shift = chunk_of(op.modulation, width, op.shift_chunk),
                                   .scale = chunk_of(op.modulation, width, op.scale_chunk)};
  const auto blocks = static_cast<unsigned>(std::min(rows, kForwardBlocks));
  visit_vector(
      width, {op.x.raw(), op.delta.raw(), op.gate_modulation.raw(), op.modulation.raw(), op.sum.raw(), op.y.raw()},
      [&]<int N>(IntTag<N>) {
        visit_type(op.x.dtype(), [&]<class S>(TypeTag<S>) {
          visit_type(op.y.dtype(), [&]<class A>(TypeTag<A>) {
            norm_forward_kernel<N, true><<<blocks, threads_for(width, N), 0, context_.stream>>>(
                arguments, pointer_to<S>(op.x), pointer_to<A>(op.delta), pointer_to<A>(op.gate_modulation),
                pointer_to<A>(op.modulation), pointer_to<A>(op.modulation), pointer_to<S>(op.sum), pointer_to<A>(op.y));
          });
        });
      });
  check_launch("adaptive norm");
}

void CudaNormOps::launch(const NormBackward& op) {
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1];
  if (rows == 0) return;
  const auto cut = column_sum_blocks(rows, width);
  auto* partial = static_cast<float*>(context_.ops.scratch_for("NormBackward", scratch_bytes(op)));
  const BackwardArguments arguments{.width = width,
                                    .blocks = cut,
                                    .mean = op.mean.data<float>(),
                                    .inv_std = op.inv_std.data<float>(),
                                    .partial = partial};
  const auto blocks = static_cast<unsigned>(cut.blocks());
  visit_vector(width, {op.grad_y.raw(), op.sum.raw(), op.gain.raw(), op.grad_sum.raw(), op.grad_x.raw()},
               [&]<int N>(IntTag<N>) {
                 visit_type(op.sum.dtype(), [&]<class S>(TypeTag<S>) {
                   visit_type(op.gain.dtype(), [&]<class A>(TypeTag<A>) {
                     visit_type(op.grad_y.dtype(), [&]<class G>(TypeTag<G>) {
                       norm_backward_kernel<N><<<blocks, threads_for(width, N), 0, context_.stream>>>(
                           arguments, pointer_to<G>(op.grad_y), pointer_to<S>(op.sum), pointer_to<A>(op.gain),
                           pointer_to<S>(op.grad_sum), pointer_to<S>(op.grad_x));
                     });
                   });
                 });
               });
  check_launch("norm backward");
  add_column_sums(context_, partial, cut.blocks(), 2 * width, width, op.grad_gain.data<float>());
  add_column_sums(context_, partial + width, cut.blocks(), 2 * width, width, op.grad_bias.data<float>());
}

void CudaNormOps::sum_pieces(const AdaptiveNormBackward& op, const float* partial, int part, TensorView to, int chunk) {
  const auto width = op.sum.shape()[1], sequences = op.modulation.shape()[0];
  const PieceSums arguments{.width = width,
                            .segments = segment_cut(op.sum.shape()[0], sequences),
                            .offsets = op.offsets.data<std::int32_t>(),
                            .partial = partial,
                            .part = part,
                            .to = chunk_of(to, width, chunk)};
  constexpr int kThreads = 256;
  visit_type(to.dtype(), [&]<class A>(TypeTag<A>) {
    sum_pieces_kernel<<<static_cast<unsigned>(ceil_div(sequences * width, kThreads)), kThreads, 0, context_.stream>>>(
        arguments, pointer_to<A>(to));
  });
  check_launch("sums over sequences");
}

void CudaNormOps::launch(const AdaptiveNormBackward& op) {
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1], sequences = op.modulation.shape()[0];
  auto* partial = static_cast<float*>(context_.ops.scratch_for("AdaptiveNormBackward", scratch_bytes(op)));
  const auto segments = segment_cut(rows, sequences);
  const AdaptiveBackwardArguments arguments{.width = width,
                                            .segments = segments,
                                            .mean = op.mean.data<float>(),
                                            .inv_std = op.inv_std.data<float>(),
                                            .row_sequence = op.row_sequence.data<std::int32_t>(),
                                            .gate = chunk_of(op.gate_modulation, width, op.gate_chunk),
                                            .scale = chunk_of(op.modulation, width, op.scale_chunk),
                                            .partial = partial};
  const auto blocks = static_cast<unsigned>(segments.cut.blocks());
  if (rows > 0)
    visit_vector(width,
                 {op.grad_y.raw(), op.sum.raw(), op.modulation.raw(), op.grad_sum.raw(), op.delta.raw(),
                  op.gate_modulation.raw(), op.grad_x.raw(), op.grad_delta.raw()},
                 [&]<int N>(IntTag<N>) {
                   visit_type(op.sum.dtype(), [&]<class S>(TypeTag<S>) {
                     visit_type(op.modulation.dtype(), [&]<class A>(TypeTag<A>) {
                       visit_type(op.grad_y.dtype(), [&]<class G>(TypeTag<G>) {
                         adaptive_backward_kernel<N><<<blocks, threads_for(width, N), 0, context_.stream>>>(
                             arguments, pointer_to<G>(op.grad_y), pointer_to<S>(op.sum), pointer_to<A>(op.modulation),
                             pointer_to<S>(op.grad_sum), pointer_to<A>(op.delta), pointer_to<A>(op.gate_modulation),
                             pointer_to<S>(op.grad_x), pointer_to<A>(op.grad_delta));
                       });
                     });
                   });
                 });
  check_launch("adaptive norm backward");
  sum_pieces(op, partial, 0, op.grad_modulation, op.shift_chunk);
  sum_pieces(op, partial, 1, op.grad_modulation, op.scale_chunk);
  if (op.delta.present()) sum_pieces(op, partial, 2, op.grad_gate_modulation, op.gate_chunk);
}

}  // namespace

std::unique_ptr<NormOps> make_norm_ops(CudaContext& context) {
  return std::make_unique<CudaNormOps>(context);
}

}  // namespace lsd::backends::cuda
