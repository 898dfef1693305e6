// SPDX-License-Identifier: Apache-2.0
// Blocks of rows keep the sums that gain and bias need and leave them as partial sums, which a second kernel adds up in
// a fixed order.
#include "norm_rows.cuh"

namespace lsd::backends::cuda {
namespace {

struct BackwardArguments {
  std::int64_t width;
  RowBlocks blocks;
  const float *mean, *inv_std;
  float* partial;  // [blocks, 2, width]: gain's gradient, then bias's
};

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

}  // namespace

std::size_t scratch_bytes_of(const NormBackward& op) {
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1];
  return static_cast<std::size_t>(column_sum_blocks(rows, width).blocks() * 2 * width) * sizeof(float);
}

void launch_norm(const CudaContext& context, const NormBackward& op, void* scratch) {
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1];
  if (rows == 0) return;
  const auto cut = column_sum_blocks(rows, width);
  auto* partial = static_cast<float*>(scratch);
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
                       norm_backward_kernel<N><<<blocks, threads_for(width, N), 0, context.stream>>>(
                           arguments, pointer_to<G>(op.grad_y), pointer_to<S>(op.sum), pointer_to<A>(op.gain),
                           pointer_to<S>(op.grad_sum), pointer_to<S>(op.grad_x));
                     });
                   });
                 });
               });
  check_launch("norm backward");
  add_column_sums(context, partial, cut.blocks(), 2 * width, width, op.grad_gain.data<float>());
  add_column_sums(context, partial + width, cut.blocks(), 2 * width, width, op.grad_bias.data<float>());
}

}  // namespace lsd::backends::cuda
