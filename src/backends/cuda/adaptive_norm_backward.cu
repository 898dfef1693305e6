// SPDX-License-Identifier: Apache-2.0
// Blocks of rows keep the sums that conditioning needs, cut where sequences end, and leave them as pieces, which a
// second kernel adds up in a fixed order.
#include "norm_rows.cuh"

namespace lsd::backends::cuda {
namespace {

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

void sum_pieces(const CudaContext& context, const AdaptiveNormBackward& op, const float* partial, int part,
                TensorView to, int chunk) {
  const auto width = op.sum.shape()[1], sequences = op.modulation.shape()[0];
  const PieceSums arguments{.width = width,
                            .segments = segment_cut(op.sum.shape()[0], sequences),
                            .offsets = op.offsets.data<std::int32_t>(),
                            .partial = partial,
                            .part = part,
                            .to = chunk_of(to, width, chunk)};
  constexpr int kThreads = 256;
  visit_type(to.dtype(), [&]<class A>(TypeTag<A>) {
    sum_pieces_kernel<<<static_cast<unsigned>(ceil_div(sequences * width, kThreads)), kThreads, 0, context.stream>>>(
        arguments, pointer_to<A>(to));
  });
  check_launch("sums over sequences");
}

}  // namespace

std::size_t scratch_bytes_of(const AdaptiveNormBackward& op) {
  const auto segments = segment_cut(op.sum.shape()[0], op.modulation.shape()[0]);
  return static_cast<std::size_t>(segments.pieces() * 3 * op.sum.shape()[1]) * sizeof(float);
}

void launch_norm(const CudaContext& context, const AdaptiveNormBackward& op, void* scratch) {
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1], sequences = op.modulation.shape()[0];
  auto* partial = static_cast<float*>(scratch);
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
                         adaptive_backward_kernel<N><<<blocks, threads_for(width, N), 0, context.stream>>>(
                             arguments, pointer_to<G>(op.grad_y), pointer_to<S>(op.sum), pointer_to<A>(op.modulation),
                             pointer_to<S>(op.grad_sum), pointer_to<A>(op.delta), pointer_to<A>(op.gate_modulation),
                             pointer_to<S>(op.grad_x), pointer_to<A>(op.grad_delta));
                       });
                     });
                   });
                 });
  check_launch("adaptive norm backward");
  sum_pieces(context, op, partial, 0, op.grad_modulation, op.shift_chunk);
  sum_pieces(context, op, partial, 1, op.grad_modulation, op.scale_chunk);
  if (op.delta.present()) sum_pieces(context, op, partial, 2, op.grad_gate_modulation, op.gate_chunk);
}

}  // namespace lsd::backends::cuda
