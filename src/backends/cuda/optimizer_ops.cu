// SPDX-License-Identifier: Apache-2.0
#include "device_values.cuh"
#include "lsd/tensor/step_scalars.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kSquareBlock = 16384;  // elements whose squares are summed together
constexpr int kSumThreads = 1024;

// Squares are added in double: the sum over a block of parameters is then exact to float32.
template <int N>
__global__ void __launch_bounds__(kThreads) squares_kernel(const float* x, RowBlocks blocks, double* partial) {
  __shared__ double pieces[kWarp];
  double sum[1] = {0.0};
  const auto end = blocks.end(blockIdx.x);
  for (auto i = blocks.begin(blockIdx.x) + threadIdx.x * N; i < end; i += kThreads * N) {
    float value[N];
    load<N>(x + i, value);
    float here = 0.0F;
#pragma unroll
    for (int k = 0; k < N; ++k) here += value[k] * value[k];
    sum[0] += static_cast<double>(here);
  }
  block_sum(sum, pieces);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum[0];
}

__global__ void __launch_bounds__(kSumThreads)
    add_squares_kernel(const double* partial, std::int64_t blocks, float* out) {
  __shared__ double pieces[kWarp];
  double sum[1] = {0.0};
  for (std::int64_t b = threadIdx.x; b < blocks; b += kSumThreads) sum[0] += partial[b];
  block_sum(sum, pieces);
  if (threadIdx.x == 0) out[0] += static_cast<float>(sum[0]);
}

struct AdamArguments {
  const float *grad, *scalars, *squared_norm;
  const std::uint8_t* decay_blocks;
  float *master, *first, *second, *ema;
  std::int64_t count;
  float beta1, beta2, epsilon, weight_decay;
};

// Four neighbours per thread; the whole range is a multiple of 64, so none is left over.
template <class T>
__global__ void adamw_kernel(AdamArguments a, T* compute) {
  const auto i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 4;
  const float squared_norm = a.squared_norm[0];
  if (i >= a.count || a.scalars[StepScalars::skip] != 0.0F || !isfinite(squared_norm)) return;
  float scale = a.scalars[StepScalars::gradient_scale];
  const float clip = a.scalars[StepScalars::clip_norm], norm = scale * sqrtf(squared_norm);
  if (clip > 0.0F && norm > clip) scale *= clip / norm;
  const float rate = a.scalars[StepScalars::learning_rate];
  const float inverse_bias1 = 1.0F / a.scalars[StepScalars::bias_correction1];
  const float inverse_bias2 = 1.0F / a.scalars[StepScalars::bias_correction2];
  const float decay = a.decay_blocks[i / 64] != 0 ? a.weight_decay : 0.0F;
  float grad[4], master[4], first[4], second[4];
  load<4>(a.grad + i, grad);
  load<4>(a.master + i, master);
  load<4>(a.first + i, first);
  load<4>(a.second + i, second);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const float g = grad[k] * scale;
    first[k] = a.beta1 * first[k] + (1.0F - a.beta1) * g;
    second[k] = a.beta2 * second[k] + (1.0F - a.beta2) * g * g;
    const float update = first[k] * inverse_bias1 / (sqrtf(second[k] * inverse_bias2) + a.epsilon);
    master[k] -= rate * (update + decay * master[k]);
  }
  store<4>(a.first + i, first);
  store<4>(a.second + i, second);
  store<4>(a.master + i, master);
  store<4>(compute + i, master);
  if (a.ema == nullptr) return;
  const float step = 1.0F - a.scalars[StepScalars::ema_decay];
  float ema[4];
  load<4>(a.ema + i, ema);
#pragma unroll
  for (int k = 0; k < 4; ++k) ema[k] += step * (master[k] - ema[k]);
  store<4>(a.ema + i, ema);
}

class CudaOptimizerOps : public OptimizerOps {
 public:
  explicit CudaOptimizerOps(CudaContext& context) : OptimizerOps(context.ops), context_(context) {}

 private:
  std::size_t scratch_bytes(const SquaredNorm& op) const override {
    return static_cast<std::size_t>(ceil_div(op.x.elements(), kSquareBlock)) * sizeof(double);
  }
  std::size_t scratch_bytes(const AdamW&) const override { return 0; }
  void launch(const SquaredNorm& op) override;
  void launch(const AdamW& op) override;

  CudaContext& context_;
};

void CudaOptimizerOps::launch(const SquaredNorm& op) {
  const RowBlocks blocks{op.x.elements(), kSquareBlock};
  if (blocks.rows == 0) return;
  auto* partial = static_cast<double*>(context_.ops.scratch_for("SquaredNorm", scratch_bytes(op)));
  visit_vector(op.x.elements(), {op.x.raw()}, [&]<int N>(IntTag<N>) {
    squares_kernel<N>
        <<<static_cast<unsigned>(blocks.blocks()), kThreads, 0, context_.stream>>>(op.x.data<float>(), blocks, partial);
  });
  check_launch("squared norm");
  add_squares_kernel<<<1, kSumThreads, 0, context_.stream>>>(partial, blocks.blocks(), op.sum.data<float>());
  check_launch("sum of squared norms");
}

void CudaOptimizerOps::launch(const AdamW& op) {
  const auto count = op.grad.elements();
  if (count == 0) return;
  check(aligned16({op.grad.raw(), op.master.raw(), op.first_moment.raw(), op.second_moment.raw(), op.ema.raw(),
                   op.compute.raw()}),
        "flat ranges of parameters start at multiples of 16 bytes");
  const AdamArguments arguments{.grad = op.grad.data<float>(),
                                .scalars = op.scalars.data<float>(),
                                .squared_norm = op.squared_norm.data<float>(),
                                .decay_blocks = op.decay_blocks.data<std::uint8_t>(),
                                .master = op.master.data<float>(),
                                .first = op.first_moment.data<float>(),
                                .second = op.second_moment.data<float>(),
                                .ema = pointer_to<float>(op.ema),
                                .count = count,
                                .beta1 = op.beta1,
                                .beta2 = op.beta2,
                                .epsilon = op.epsilon,
                                .weight_decay = op.weight_decay};
  visit_type(op.compute.dtype(), [&]<class T>(TypeTag<T>) {
    adamw_kernel<<<static_cast<unsigned>(ceil_div(count / 4, kThreads)), kThreads, 0, context_.stream>>>(
        arguments, pointer_to<T>(op.compute));
  });
  check_launch("AdamW");
}

}  // namespace

std::unique_ptr<OptimizerOps> make_optimizer_ops(CudaContext& context) {
  return std::make_unique<CudaOptimizerOps>(context);
}

}  // namespace lsd::backends::cuda
