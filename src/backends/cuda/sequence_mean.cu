// SPDX-License-Identifier: Apache-2.0
// Sums over blocks of rows, cut where sequences end, then over the blocks of each sequence in order.
#include "device_values.cuh"
#include "sequence_mean_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kThreads = 256;

struct SequenceSumArguments {
  SegmentCut segments;
  std::int64_t width;
  const std::uint8_t* row_mask;
  const std::int32_t* row_sequence;
  float* partial;  // [pieces, width]
};

// One warp per block of rows and slab of columns; what it sums of one sequence becomes a piece.
template <int N, class X>
__global__ void __launch_bounds__(kWarp) sequence_sum_kernel(SequenceSumArguments a, const X* x) {
  const std::int64_t c = (std::int64_t{blockIdx.y} * kWarp + threadIdx.x) * N;
  if (c >= a.width) return;
  const std::int64_t block = blockIdx.x, end = a.segments.cut.end(block);
  float sum[N] = {};
  std::int64_t current = -1;
  for (auto row = a.segments.cut.begin(block); row < end; ++row) {
    const std::int64_t sequence = a.row_sequence[row];
    if (sequence != current) {
      if (current >= 0) store<N>(a.partial + SegmentCut::piece(block, current) * a.width + c, sum);
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] = 0.0F;
      current = sequence;
    }
    if (sequence < 0 || a.row_mask[row] == 0) continue;
    float value[N];
    load<N>(x + row * a.width + c, value);
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] += value[k];
  }
  if (current >= 0) store<N>(a.partial + SegmentCut::piece(block, current) * a.width + c, sum);
}

// One block per sequence: its counted rows, then the pieces of each column in order.
__global__ void __launch_bounds__(kThreads)
    sequence_mean_kernel(SequenceSumArguments a, const std::int32_t* offsets, float* mean) {
  __shared__ int pieces[kWarp];
  const std::int64_t sequence = blockIdx.x, begin = offsets[sequence], end = offsets[sequence + 1];
  int count[1] = {0};
  for (auto row = begin + threadIdx.x; row < end; row += kThreads) count[0] += a.row_mask[row] != 0 ? 1 : 0;
  block_sum(count, pieces);
  const float inverse = count[0] > 0 ? 1.0F / static_cast<float>(count[0]) : 0.0F;
  for (std::int64_t c = threadIdx.x; c < a.width; c += kThreads) {
    float sum = 0.0F;
    for (auto block = a.segments.first_block(begin); block < a.segments.last_block(begin, end); ++block)
      sum += a.partial[SegmentCut::piece(block, sequence) * a.width + c];
    mean[sequence * a.width + c] = sum * inverse;
  }
}

}  // namespace

std::size_t sequence_mean_scratch_bytes(const SequenceMean& op) {
  const auto segments = segment_cut(op.x.shape()[0], op.layout.max_sequences());
  return static_cast<std::size_t>(segments.pieces() * op.x.shape()[1]) * sizeof(float);
}

void launch_sequence_mean(const CudaContext& context, const SequenceMean& op, void* scratch) {
  const auto rows = op.x.shape()[0], width = op.x.shape()[1], sequences = op.layout.max_sequences();
  auto* partial = static_cast<float*>(scratch);
  const SequenceSumArguments arguments{.segments = segment_cut(rows, sequences),
                                       .width = width,
                                       .row_mask = op.row_mask.data<std::uint8_t>(),
                                       .row_sequence = op.layout.row_sequence.data<std::int32_t>(),
                                       .partial = partial};
  if (rows > 0)
    visit_vector(width, {op.x.raw(), partial}, [&]<int N>(IntTag<N>) {
      visit_type(op.x.dtype(), [&]<class X>(TypeTag<X>) {
        const dim3 grid(static_cast<unsigned>(arguments.segments.cut.blocks()),
                        static_cast<unsigned>(ceil_div(width, kWarp * N)));
        sequence_sum_kernel<N><<<grid, kWarp, 0, context.stream>>>(arguments, pointer_to<X>(op.x));
      });
    });
  check_launch("sums over sequences");
  sequence_mean_kernel<<<static_cast<unsigned>(sequences), kThreads, 0, context.stream>>>(
      arguments, op.layout.offsets.data<std::int32_t>(), op.mean.data<float>());
  check_launch("means over sequences");
}

}  // namespace lsd::backends::cuda
