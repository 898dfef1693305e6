// SPDX-License-Identifier: Apache-2.0
// One warp per row. Sums over rows are made per sequence and then added in order, in double.
#include "device_values.cuh"
#include "losses_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kRowWarps = 8;
constexpr int kSumThreads = 1024;

struct SquaredArguments {
  const std::uint8_t* row_mask;
  const std::int32_t* row_sequence;
  const float *weight, *scale;
  std::int64_t rows, width;
  float* row_error;  // [rows]: e_r, 0 where the row does not count
};

template <int N, class P, class T, class Out>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    squared_error_kernel(SquaredArguments a, const P* prediction, const T* target, Out* grad) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowWarps + threadIdx.y;
  if (row >= a.rows) return;
  const auto sequence = a.row_sequence[row];
  const bool counted = sequence >= 0 && a.row_mask[row] != 0;
  const float factor = counted ? a.scale[0] * a.weight[sequence] * 2.0F / static_cast<float>(a.width) : 0.0F;
  float error = 0.0F;
  for (std::int64_t c = threadIdx.x * N; c < a.width; c += kWarp * N) {
    float difference[N] = {};
    if (counted) {
      float wanted[N];
      load<N>(prediction + row * a.width + c, difference);
      load<N>(target + row * a.width + c, wanted);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        difference[k] -= wanted[k];
        error += difference[k] * difference[k];
        difference[k] *= factor;
      }
    }
    if (grad != nullptr) store<N>(grad + row * a.width + c, difference);
  }
  error = warp_sum(error);
  if (threadIdx.x == 0) a.row_error[row] = error;
}

// One warp per sequence: the mean over its counted rows, and their sum for the losses.
__global__ void sequence_error_kernel(const float* row_error, const std::uint8_t* row_mask, const std::int32_t* offsets,
                                      std::int64_t sequences, std::int64_t width, float* sequence_loss,
                                      double* sequence_sum) {
  const std::int64_t s = std::int64_t{blockIdx.x} * kRowWarps + threadIdx.y;
  if (s >= sequences) return;
  double sum = 0.0;
  int count = 0;
  for (std::int64_t row = offsets[s] + static_cast<std::int64_t>(threadIdx.x); row < offsets[s + 1]; row += kWarp) {
    sum += static_cast<double>(row_error[row]);
    count += row_mask[row] != 0 ? 1 : 0;
  }
  sum = warp_sum(sum) / static_cast<double>(width);
  count = warp_sum(count);
  if (threadIdx.x != 0) return;
  sequence_loss[s] = count > 0 ? static_cast<float>(sum / static_cast<double>(count)) : 0.0F;
  sequence_sum[s] = sum;
}

__global__ void __launch_bounds__(kSumThreads)
    add_errors_kernel(const double* sequence_sum, const float* weight, std::int64_t sequences, float* loss,
                      float* unweighted) {
  __shared__ double pieces[2 * kWarp];
  double sum[2] = {0.0, 0.0};
  for (std::int64_t s = threadIdx.x; s < sequences; s += kSumThreads) {
    sum[0] += sequence_sum[s] * static_cast<double>(weight[s]);
    sum[1] += sequence_sum[s];
  }
  block_sum(sum, pieces);
  if (threadIdx.x != 0) return;
  loss[0] += static_cast<float>(sum[0]);
  unweighted[0] += static_cast<float>(sum[1]);
}

unsigned warps_for(std::int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kRowWarps));
}

std::size_t sum_bytes(const SquaredError& op) {
  return scratch_line(static_cast<std::size_t>(op.weight.elements()) * sizeof(double));
}

}  // namespace

std::size_t scratch_bytes_of(const SquaredError& op) {
  return sum_bytes(op) + static_cast<std::size_t>(op.prediction.shape()[0]) * sizeof(float);
}

void launch_squared_error(const CudaContext& context, const SquaredError& op, void* scratch) {
  const auto rows = op.prediction.shape()[0], width = op.prediction.shape()[1], sequences = op.weight.elements();
  auto* memory = static_cast<std::byte*>(scratch);
  auto* sums = reinterpret_cast<double*>(memory);
  auto* row_error = reinterpret_cast<float*>(memory + sum_bytes(op));
  const SquaredArguments arguments{.row_mask = op.row_mask.data<std::uint8_t>(),
                                   .row_sequence = op.row_sequence.data<std::int32_t>(),
                                   .weight = op.weight.data<float>(),
                                   .scale = op.scale.data<float>(),
                                   .rows = rows,
                                   .width = width,
                                   .row_error = row_error};
  const auto grad_type = op.grad_prediction.present() ? op.grad_prediction.dtype() : op.prediction.dtype();
  if (rows > 0)
    visit_vector(width, {op.prediction.raw(), op.target.raw(), op.grad_prediction.raw()}, [&]<int N>(IntTag<N>) {
      visit_type(op.prediction.dtype(), [&]<class P>(TypeTag<P>) {
        visit_type(op.target.dtype(), [&]<class T>(TypeTag<T>) {
          visit_type(grad_type, [&]<class Out>(TypeTag<Out>) {
            squared_error_kernel<N><<<warps_for(rows), dim3(kWarp, kRowWarps), 0, context.stream>>>(
                arguments, pointer_to<P>(op.prediction), pointer_to<T>(op.target), pointer_to<Out>(op.grad_prediction));
          });
        });
      });
    });
  check_launch("squared error");
  if (sequences == 0) return;
  sequence_error_kernel<<<warps_for(sequences), dim3(kWarp, kRowWarps), 0, context.stream>>>(
      row_error, op.row_mask.data<std::uint8_t>(), op.offsets.data<std::int32_t>(), sequences, width,
      op.sequence_loss.data<float>(), sums);
  check_launch("squared error of sequences");
  add_errors_kernel<<<1, kSumThreads, 0, context.stream>>>(sums, op.weight.data<float>(), sequences,
                                                           op.loss_sum.data<float>(), op.unweighted_sum.data<float>());
  check_launch("sum of squared errors");
}

}  // namespace lsd::backends::cuda
