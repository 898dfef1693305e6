// SPDX-License-Identifier: Apache-2.0
// Forward norms, plain and adaptive: one kernel.
#include "norm_rows.cuh"

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

// Rows beyond this many are taken by the same blocks in turn.
constexpr std::int64_t kForwardBlocks = 8192;

}  // namespace

void launch_norm(const CudaContext& context, const NormForward& op) {
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
                     norm_forward_kernel<N, false><<<blocks, threads_for(width, N), 0, context.stream>>>(
                         arguments, pointer_to<S>(op.x), pointer_to<A>(op.delta), static_cast<const A*>(nullptr),
                         pointer_to<A>(op.gain), pointer_to<A>(op.bias), pointer_to<S>(op.sum), pointer_to<A>(op.y));
                   });
                 });
               });
  check_launch("norm");
}

void launch_norm(const CudaContext& context, const AdaptiveNormForward& op) {
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
            norm_forward_kernel<N, true><<<blocks, threads_for(width, N), 0, context.stream>>>(
                arguments, pointer_to<S>(op.x), pointer_to<A>(op.delta), pointer_to<A>(op.gate_modulation),
                pointer_to<A>(op.modulation), pointer_to<A>(op.modulation), pointer_to<S>(op.sum), pointer_to<A>(op.y));
          });
        });
      });
  check_launch("adaptive norm");
}

}  // namespace lsd::backends::cuda
