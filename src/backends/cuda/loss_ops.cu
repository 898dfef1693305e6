// SPDX-License-Identifier: Apache-2.0
// Losses: one warp per row. Sums over rows are made per block or per sequence and then added in order, in double.
#include "device_values.cuh"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kRowWarps = 8;
constexpr int kSumThreads = 1024;
constexpr int kEntropySums = 3;  // weighted, unweighted, correct
constexpr std::int64_t kEntropyBlocks = 1024;

struct EntropyArguments {
  const std::int32_t* targets;
  const float *row_time, *scale;
  std::int64_t rows;
  int vocab;
  double* partial;  // [blocks, 3]
};

struct Largest {
  float value;
  int at;
};

// The largest value and the lowest index that has it.
__device__ __forceinline__ Largest warp_largest(Largest x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Largest other{__shfl_xor_sync(0xFFFFFFFFU, x.value, offset), __shfl_xor_sync(0xFFFFFFFFU, x.at, offset)};
    if (other.value > x.value || (other.value == x.value && other.at < x.at)) x = other;
  }
  return x;
}

// A lane reads and writes the same elements, so that the gradient may lie in the memory of the logits. Gives the row's
// cross entropy and whether the guess is right, to every lane.
template <class X, class Out>
__device__ float entropy_of_row(const X* logits, Out* grad, int vocab, int target, float factor, bool& correct) {
  const auto lane = static_cast<int>(threadIdx.x);
  Largest largest{-INFINITY, vocab};
  float of_target = 0.0F;
  for (int k = lane; k < vocab; k += kWarp) {
    float value[1];
    load<1>(logits + k, value);
    if (value[0] > largest.value) largest = {value[0], k};
    if (k == target) of_target = value[0];
  }
  largest = warp_largest(largest);
  of_target = warp_sum(of_target);  // 0 on every other lane
  float sum = 0.0F;
  for (int k = lane; k < vocab; k += kWarp) {
    float value[1];
    load<1>(logits + k, value);
    sum += expf(value[0] - largest.value);
  }
  sum = warp_sum(sum);
  const float log_sum = logf(sum);
  correct = largest.at == target;
  if (grad != nullptr)
    for (int k = lane; k < vocab; k += kWarp) {
      float value[1];
      load<1>(logits + k, value);
      value[0] = factor * (expf(value[0] - largest.value - log_sum) - (k == target ? 1.0F : 0.0F));
      store<1>(grad + k, value);
    }
  return log_sum + (largest.value - of_target);
}

template <class X, class Out>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    cross_entropy_kernel(EntropyArguments a, const X* logits, Out* grad) {
  __shared__ double sums[kEntropySums][kRowWarps];
  double sum[kEntropySums] = {0.0, 0.0, 0.0};
  const float scale = a.scale[0];
  const std::int64_t step = std::int64_t{gridDim.x} * kRowWarps;
  for (std::int64_t row = std::int64_t{blockIdx.x} * kRowWarps + threadIdx.y; row < a.rows; row += step) {
    const auto target = a.targets[row];
    Out* out = grad != nullptr ? grad + row * a.vocab : nullptr;
    if (target < 0) {
      const float zero[1] = {0.0F};
      if (out != nullptr)
        for (int k = static_cast<int>(threadIdx.x); k < a.vocab; k += kWarp) store<1>(out + k, zero);
      continue;
    }
    const float sine = a.row_time != nullptr ? sinpif(0.5F * a.row_time[row]) : 1.0F;
    const float weight = sine * sine;
    bool correct = false;
    const float entropy = entropy_of_row(logits + row * a.vocab, out, a.vocab, target, scale * weight, correct);
    sum[0] += static_cast<double>(weight) * static_cast<double>(entropy);
    sum[1] += static_cast<double>(entropy);
    sum[2] += correct ? 1.0 : 0.0;
  }
  if (threadIdx.x == 0)
#pragma unroll
    for (int k = 0; k < kEntropySums; ++k) sums[k][threadIdx.y] = sum[k];
  __syncthreads();
  if (threadIdx.y != 0 || threadIdx.x >= kEntropySums) return;
  double total = 0.0;
  for (int w = 0; w < kRowWarps; ++w) total += sums[threadIdx.x][w];
  a.partial[std::int64_t{blockIdx.x} * kEntropySums + threadIdx.x] = total;
}

__global__ void __launch_bounds__(kSumThreads)
    add_entropy_kernel(const double* partial, std::int64_t blocks, float* loss, float* unweighted, float* correct) {
  __shared__ double pieces[kEntropySums * kWarp];
  double sum[kEntropySums] = {0.0, 0.0, 0.0};
  for (std::int64_t b = threadIdx.x; b < blocks; b += kSumThreads)
#pragma unroll
    for (int k = 0; k < kEntropySums; ++k) sum[k] += partial[b * kEntropySums + k];
  block_sum(sum, pieces);
  if (threadIdx.x != 0) return;
  loss[0] += static_cast<float>(sum[0]);
  unweighted[0] += static_cast<float>(sum[1]);
  correct[0] += static_cast<float>(sum[2]);
}

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

// One warp per sequence: the mean over its counted rows, and their weighted sum for the loss.
__global__ void sequence_error_kernel(const float* row_error, const std::uint8_t* row_mask, const std::int32_t* offsets,
                                      const float* weight, std::int64_t sequences, std::int64_t width,
                                      float* sequence_loss, double* weighted) {
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
  weighted[s] = sum * static_cast<double>(weight[s]);
}

__global__ void __launch_bounds__(kSumThreads)
    add_errors_kernel(const double* weighted, std::int64_t sequences, float* loss) {
  __shared__ double pieces[kWarp];
  double sum[1] = {0.0};
  for (std::int64_t s = threadIdx.x; s < sequences; s += kSumThreads) sum[0] += weighted[s];
  block_sum(sum, pieces);
  if (threadIdx.x == 0) loss[0] += static_cast<float>(sum[0]);
}

unsigned warps_for(std::int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kRowWarps));
}

class CudaLossOps : public LossOps {
 public:
  explicit CudaLossOps(CudaContext& context) : LossOps(context.ops), context_(context) {}

 private:
  static std::int64_t entropy_blocks(const CrossEntropy& op) {
    return std::min(kEntropyBlocks, ceil_div(op.logits.shape()[0], kRowWarps));
  }
  static std::size_t weighted_bytes(const SquaredError& op) {
    return scratch_line(static_cast<std::size_t>(op.weight.elements()) * sizeof(double));
  }
  std::size_t scratch_bytes(const CrossEntropy& op) const override {
    return static_cast<std::size_t>(entropy_blocks(op) * kEntropySums) * sizeof(double);
  }
  std::size_t scratch_bytes(const SquaredError& op) const override {
    return weighted_bytes(op) + static_cast<std::size_t>(op.prediction.shape()[0]) * sizeof(float);
  }
  void launch(const CrossEntropy& op) override;
  void launch(const SquaredError& op) override;

  CudaContext& context_;
};

void CudaLossOps::launch(const CrossEntropy& op) {
  const auto rows = op.logits.shape()[0], vocab = op.logits.shape()[1], blocks = entropy_blocks(op);
  if (rows == 0) return;
  auto* partial = static_cast<double*>(context_.ops.scratch_for("CrossEntropy", scratch_bytes(op)));
  const EntropyArguments arguments{.targets = op.targets.data<std::int32_t>(),
                                   .row_time = pointer_to<float>(op.row_time),
                                   .scale = op.scale.data<float>(),
                                   .rows = rows,
                                   .vocab = static_cast<int>(vocab),
                                   .partial = partial};
  const auto grad_type = op.grad_logits.present() ? op.grad_logits.dtype() : op.logits.dtype();
  visit_type(op.logits.dtype(), [&]<class X>(TypeTag<X>) {
    visit_type(grad_type, [&]<class Out>(TypeTag<Out>) {
      cross_entropy_kernel<<<static_cast<unsigned>(blocks), dim3(kWarp, kRowWarps), 0, context_.stream>>>(
          arguments, pointer_to<X>(op.logits), pointer_to<Out>(op.grad_logits));
    });
  });
  check_launch("cross-entropy");
  add_entropy_kernel<<<1, kSumThreads, 0, context_.stream>>>(partial, blocks, op.loss_sum.data<float>(),
                                                             op.unweighted_sum.data<float>(), op.correct.data<float>());
  check_launch("sum of cross-entropies");
}

void CudaLossOps::launch(const SquaredError& op) {
  const auto rows = op.prediction.shape()[0], width = op.prediction.shape()[1], sequences = op.weight.elements();
  auto* memory = static_cast<std::byte*>(context_.ops.scratch_for("SquaredError", scratch_bytes(op)));
  auto* weighted = reinterpret_cast<double*>(memory);
  auto* row_error = reinterpret_cast<float*>(memory + weighted_bytes(op));
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
            squared_error_kernel<N><<<warps_for(rows), dim3(kWarp, kRowWarps), 0, context_.stream>>>(
                arguments, pointer_to<P>(op.prediction), pointer_to<T>(op.target), pointer_to<Out>(op.grad_prediction));
          });
        });
      });
    });
  check_launch("squared error");
  if (sequences == 0) return;
  sequence_error_kernel<<<warps_for(sequences), dim3(kWarp, kRowWarps), 0, context_.stream>>>(
      row_error, op.row_mask.data<std::uint8_t>(), op.offsets.data<std::int32_t>(), op.weight.data<float>(), sequences,
      width, op.sequence_loss.data<float>(), weighted);
  check_launch("squared error of sequences");
  add_errors_kernel<<<1, kSumThreads, 0, context_.stream>>>(weighted, sequences, op.loss_sum.data<float>());
  check_launch("sum of squared errors");
}

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(CudaContext& context) {
  return std::make_unique<CudaLossOps>(context);
}

}  // namespace lsd::backends::cuda
