// SPDX-License-Identifier: Apache-2.0
// One warp per row. Sums over rows are made per block and then added in order, in double.
#include "device_values.cuh"
#include "losses_internal.h"
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

std::int64_t entropy_blocks(const CrossEntropy& op) {
  return std::min(kEntropyBlocks, ceil_div(op.logits.shape()[0], kRowWarps));
}

}  // namespace

std::size_t scratch_bytes_of(const CrossEntropy& op) {
  return static_cast<std::size_t>(entropy_blocks(op) * kEntropySums) * sizeof(double);
}

void launch_cross_entropy(const CudaContext& context, const CrossEntropy& op, void* scratch) {
  const auto rows = op.logits.shape()[0], vocab = op.logits.shape()[1], blocks = entropy_blocks(op);
  if (rows == 0) return;
  auto* partial = static_cast<double*>(scratch);
  const EntropyArguments arguments{.targets = op.targets.data<std::int32_t>(),
                                   .row_time = pointer_to<float>(op.row_time),
                                   .scale = op.scale.data<float>(),
                                   .rows = rows,
                                   .vocab = static_cast<int>(vocab),
                                   .partial = partial};
  const auto grad_type = op.grad_logits.present() ? op.grad_logits.dtype() : op.logits.dtype();
  visit_type(op.logits.dtype(), [&]<class X>(TypeTag<X>) {
    visit_type(grad_type, [&]<class Out>(TypeTag<Out>) {
      cross_entropy_kernel<<<static_cast<unsigned>(blocks), dim3(kWarp, kRowWarps), 0, context.stream>>>(
          arguments, pointer_to<X>(op.logits), pointer_to<Out>(op.grad_logits));
    });
  });
  check_launch("cross-entropy");
  add_entropy_kernel<<<1, kSumThreads, 0, context.stream>>>(partial, blocks, op.loss_sum.data<float>(),
                                                            op.unweighted_sum.data<float>(), op.correct.data<float>());
  check_launch("sum of cross-entropies");
}

}  // namespace lsd::backends::cuda
