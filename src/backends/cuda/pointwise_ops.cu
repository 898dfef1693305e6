// SPDX-License-Identifier: Apache-2.0
// Work row by row: one warp per row, eight rows per block, eight neighbouring columns per lane where the memory allows
// it. The lanes walk along the columns.
#include "device_values.cuh"
#include "elementwise_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kThreads = 256;

constexpr int kRowsPerBlock = 8;
const dim3 kRowThreads(kWarp, kRowsPerBlock);

unsigned row_blocks(std::int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kRowsPerBlock));
}

__device__ __forceinline__ std::int64_t row_of_warp() {
  return std::int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.y;
}

template <int N, class Y, class B>
__global__ void add_bias_kernel(Y* y, const B* bias, std::int64_t rows, std::int64_t width) {
  const auto row = row_of_warp();
  if (row >= rows) return;
  for (std::int64_t c = threadIdx.x * N; c < width; c += kWarp * N) {
    float value[N], add[N];
    load<N>(y + row * width + c, value);
    load<N>(bias + c, add);
#pragma unroll
    for (int k = 0; k < N; ++k) value[k] += add[k];
    store<N>(y + row * width + c, value);
  }
}

struct EmbeddingArguments {
  const std::int32_t* tokens;
  const float* row_scale;
  std::int64_t rows, width;
  std::int32_t vocab;
  DeviceFault* fault;
};

template <int N, class T, class Y>
__global__ void embedding_kernel(EmbeddingArguments a, const T* table, Y* y) {
  const auto row = row_of_warp();
  if (row >= a.rows) return;
  std::int32_t token = a.tokens[row];
  float scale = a.row_scale != nullptr ? a.row_scale[row] : 1.0F;
  if (token < 0 || token >= a.vocab) {
    if (threadIdx.x == 0) report(a.fault, FaultKind::token_outside_table, static_cast<std::uint32_t>(token));
    token = 0;
    scale = 0.0F;
  }
  for (std::int64_t c = threadIdx.x * N; c < a.width; c += kWarp * N) {
    float value[N];
    load<N>(table + token * a.width + c, value);
#pragma unroll
    for (int k = 0; k < N; ++k) value[k] *= scale;
    store<N>(y + row * a.width + c, value);
  }
}

template <int N, class X, class Y>
__global__ void column_affine_kernel(const X* x, const float* scale, const float* shift, Y* y, std::int64_t rows,
                                     std::int64_t width) {
  const auto row = row_of_warp();
  if (row >= rows) return;
  for (std::int64_t c = threadIdx.x * N; c < width; c += kWarp * N) {
    float value[N], factor[N], add[N];
    load<N>(x + row * width + c, value);
    load<N>(scale + c, factor);
    load<N>(shift + c, add);
#pragma unroll
    for (int k = 0; k < N; ++k) value[k] = value[k] * factor[k] + add[k];
    store<N>(y + row * width + c, value);
  }
}

struct CombinationArguments {
  const float* coefficients;  // [max_sequences, 2]
  const std::int32_t* row_sequence;
  std::int64_t rows, width;
};

template <int N, class X, class Y, class Out>
__global__ void linear_combination_kernel(CombinationArguments a, const X* x, const Y* y, Out* out) {
  const auto row = row_of_warp();
  if (row >= a.rows) return;
  const auto sequence = a.row_sequence[row];
  const bool live = sequence >= 0;
  const float first = live ? a.coefficients[2 * sequence] : 0.0F,
              second = live ? a.coefficients[2 * sequence + 1] : 0.0F;
  for (std::int64_t c = threadIdx.x * N; c < a.width; c += kWarp * N) {
    float of_x[N] = {}, of_y[N] = {};
    if (live) {
      load<N>(x + row * a.width + c, of_x);
      load<N>(y + row * a.width + c, of_y);
    }
#pragma unroll
    for (int k = 0; k < N; ++k) of_x[k] = first * of_x[k] + second * of_y[k];
    store<N>(out + row * a.width + c, of_x);
  }
}

// Angles reach a thousand, where float32 has lost the digits that matter: they are formed in double.
template <class Out>
__global__ void sinusoidal_kernel(const float* time, Out* out, std::int64_t sequences, std::int64_t half) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= sequences * half) return;
  const auto sequence = i / half, k = i % half;
  const double frequency = pow(10000.0, -static_cast<double>(k) / static_cast<double>(half));
  double sine = 0.0, cosine = 0.0;
  sincos(1000.0 * static_cast<double>(time[sequence]) * frequency, &sine, &cosine);
  const float first[1] = {static_cast<float>(cosine)}, second[1] = {static_cast<float>(sine)};
  store<1>(out + sequence * 2 * half + k, first);
  store<1>(out + sequence * 2 * half + half + k, second);
}

class CudaPointwiseOps : public PointwiseOps {
 public:
  explicit CudaPointwiseOps(CudaContext& context) : PointwiseOps(context.ops), context_(context) {}

 private:
  void launch(const Fill& op) override { launch_fill(context_, op); }
  void launch(const Cast& op) override { launch_cast(context_, op.x, op.y); }
  void launch(const GeluForward& op) override { launch_gelu(context_, op.x, op.y, op.gelu); }
  void launch(const GeluBackward& op) override { launch_gelu_slope(context_, op.grad_y, op.x, op.gelu, op.grad_x); }
  void launch(const SiluForward& op) override { launch_silu(context_, op); }
  void launch(const SiluBackward& op) override { launch_silu_slope(context_, op); }
  void launch(const EmbeddingForward& op) override;
  void launch(const EmbeddingBackward& op) override;
  void launch(const ColumnAffine& op) override;
  void launch(const LinearCombination& op) override;
  void launch(const SinusoidalFeatures& op) override;
  std::size_t scratch_bytes(const EmbeddingBackward& op) const override {
    return group_partial_bytes(op.tokens.elements(), op.grad_table.shape()[0], op.grad_table.shape()[1]);
  }

  CudaContext& context_;
};

void CudaPointwiseOps::launch(const EmbeddingForward& op) {
  const auto rows = op.y.shape()[0], width = op.y.shape()[1];
  if (rows == 0) return;
  const EmbeddingArguments arguments{.tokens = op.tokens.data<std::int32_t>(),
                                     .row_scale = pointer_to<float>(op.row_scale),
                                     .rows = rows,
                                     .width = width,
                                     .vocab = static_cast<std::int32_t>(op.table.shape()[0]),
                                     .fault = context_.fault};
  visit_vector(width, {op.table.raw(), op.y.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(op.table.dtype(), [&]<class T>(TypeTag<T>) {
      visit_type(op.y.dtype(), [&]<class Y>(TypeTag<Y>) {
        embedding_kernel<N><<<row_blocks(rows), kRowThreads, 0, context_.stream>>>(arguments, pointer_to<T>(op.table),
                                                                                   pointer_to<Y>(op.y));
      });
    });
  });
  check_launch("embedding");
}

void CudaPointwiseOps::launch(const EmbeddingBackward& op) {
  const auto rows = op.tokens.elements(), vocab = op.grad_table.shape()[0], width = op.grad_table.shape()[1];
  if (rows == 0) return;
  auto* partial = static_cast<float*>(context_.ops.scratch_for("EmbeddingBackward", scratch_bytes(op)));
  launch_group_sums(context_, {.x = op.grad_y,
                               .row_group = op.tokens.data<std::int32_t>(),
                               .row_scale = pointer_to<float>(op.row_scale),
                               .groups = vocab,
                               .partial = partial,
                               .fault = FaultKind::token_outside_table});
  add_column_sums(context_, partial, group_sum_blocks(rows).blocks(), vocab * width, vocab * width,
                  op.grad_table.data<float>());
}

void CudaPointwiseOps::launch(const ColumnAffine& op) {
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  if (rows == 0) return;
  visit_vector(width, {op.x.raw(), op.scale.raw(), op.shift.raw(), op.y.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(op.x.dtype(), [&]<class X>(TypeTag<X>) {
      visit_type(op.y.dtype(), [&]<class Y>(TypeTag<Y>) {
        column_affine_kernel<N><<<row_blocks(rows), kRowThreads, 0, context_.stream>>>(
            pointer_to<X>(op.x), op.scale.data<float>(), op.shift.data<float>(), pointer_to<Y>(op.y), rows, width);
      });
    });
  });
  check_launch("column affine");
}

void CudaPointwiseOps::launch(const LinearCombination& op) {
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  if (rows == 0) return;
  const CombinationArguments arguments{op.coefficients.data<float>(), op.row_sequence.data<std::int32_t>(), rows,
                                       width};
  visit_vector(width, {op.x.raw(), op.y.raw(), op.out.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(op.x.dtype(), [&]<class X>(TypeTag<X>) {
      visit_type(op.y.dtype(), [&]<class Y>(TypeTag<Y>) {
        visit_type(op.out.dtype(), [&]<class Out>(TypeTag<Out>) {
          linear_combination_kernel<N><<<row_blocks(rows), kRowThreads, 0, context_.stream>>>(
              arguments, pointer_to<X>(op.x), pointer_to<Y>(op.y), pointer_to<Out>(op.out));
        });
      });
    });
  });
  check_launch("linear combination");
}

void CudaPointwiseOps::launch(const SinusoidalFeatures& op) {
  const auto sequences = op.time.elements(), half = op.out.shape()[1] / 2;
  if (sequences == 0) return;
  visit_type(op.out.dtype(), [&]<class Out>(TypeTag<Out>) {
    sinusoidal_kernel<<<static_cast<unsigned>(ceil_div(sequences * half, kThreads)), kThreads, 0, context_.stream>>>(
        op.time.data<float>(), pointer_to<Out>(op.out), sequences, half);
  });
  check_launch("sinusoidal features");
}

}  // namespace

void launch_add_bias(const CudaContext& context, TensorView y, ConstTensorView bias) {
  const auto rows = y.shape()[0], width = y.shape()[1];
  if (rows == 0) return;
  visit_vector(width, {y.raw(), bias.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(y.dtype(), [&]<class Y>(TypeTag<Y>) {
      visit_type(bias.dtype(), [&]<class B>(TypeTag<B>) {
        add_bias_kernel<N>
            <<<row_blocks(rows), kRowThreads, 0, context.stream>>>(pointer_to<Y>(y), pointer_to<B>(bias), rows, width);
      });
    });
  });
  check_launch("bias");
}

std::unique_ptr<PointwiseOps> make_pointwise_ops(CudaContext& context) {
  return std::make_unique<CudaPointwiseOps>(context);
}

}  // namespace lsd::backends::cuda
