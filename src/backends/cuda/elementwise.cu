// SPDX-License-Identifier: Apache-2.0
// Element-wise work: each thread reads and writes eight neighbouring elements where the memory allows it.
#include "activations.cuh"
#include "device_values.cuh"
#include "elementwise_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kThreads = 256;

struct Copy {
  __device__ float operator()(float x) const { return x; }
};
struct GeluValue {
  Gelu kind;
  __device__ float operator()(float x) const { return gelu_value(x, kind); }
};
struct GeluSlopeTimes {
  Gelu kind;
  __device__ float operator()(float grad_y, float x) const { return grad_y * gelu_slope(x, kind); }
};
struct SiluValue {
  __device__ float operator()(float x) const { return x * sigmoid(x); }
};
struct SiluSlopeTimes {
  __device__ float operator()(float grad_y, float x) const {
    const float s = sigmoid(x);
    return grad_y * s * (1.0F + x * (1.0F - s));
  }
};

template <class T>
__global__ void fill_kernel(T* y, std::int64_t count, T value) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) y[i] = value;
}

// y = f(x), N elements per thread.
template <int N, class X, class Y, class F>
__global__ void map_kernel(const X* x, Y* y, std::int64_t groups, F f) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= groups) return;
  float value[N];
  load<N>(x + i * N, value);
#pragma unroll
  for (int k = 0; k < N; ++k) value[k] = f(value[k]);
  store<N>(y + i * N, value);
}

// out = f(a, b); out may be a or b.
template <int N, class A, class B, class Out, class F>
__global__ void map2_kernel(const A* a, const B* b, Out* out, std::int64_t groups, F f) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= groups) return;
  float first[N], second[N];
  load<N>(a + i * N, first);
  load<N>(b + i * N, second);
#pragma unroll
  for (int k = 0; k < N; ++k) first[k] = f(first[k], second[k]);
  store<N>(out + i * N, first);
}

unsigned blocks_for(std::int64_t work) {
  return static_cast<unsigned>(ceil_div(work, kThreads));
}

template <class F>
void map(const CudaContext& context, ConstTensorView x, TensorView y, F f) {
  const auto count = x.elements();
  if (count == 0) return;
  visit_vector(count, {x.raw(), y.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(x.dtype(), [&]<class X>(TypeTag<X>) {
      visit_type(y.dtype(), [&]<class Y>(TypeTag<Y>) {
        map_kernel<N>
            <<<blocks_for(count / N), kThreads, 0, context.stream>>>(pointer_to<X>(x), pointer_to<Y>(y), count / N, f);
      });
    });
  });
  check_launch("an element-wise kernel");
}

template <class F>
void map2(const CudaContext& context, ConstTensorView a, ConstTensorView b, TensorView out, F f) {
  const auto count = a.elements();
  if (count == 0) return;
  visit_vector(count, {a.raw(), b.raw(), out.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(a.dtype(), [&]<class A>(TypeTag<A>) {
      visit_type(b.dtype(), [&]<class B>(TypeTag<B>) {
        visit_type(out.dtype(), [&]<class Out>(TypeTag<Out>) {
          map2_kernel<N><<<blocks_for(count / N), kThreads, 0, context.stream>>>(pointer_to<A>(a), pointer_to<B>(b),
                                                                                 pointer_to<Out>(out), count / N, f);
        });
      });
    });
  });
  check_launch("an element-wise kernel of two operands");
}

}  // namespace

void launch_gelu(const CudaContext& context, ConstTensorView x, TensorView y, Gelu gelu) {
  map(context, x, y, GeluValue{gelu});
}

void launch_gelu_slope(const CudaContext& context, ConstTensorView grad, ConstTensorView x, Gelu gelu, TensorView out) {
  map2(context, grad, x, out, GeluSlopeTimes{gelu});
}

void launch_cast(const CudaContext& context, ConstTensorView x, TensorView y) {
  map(context, x, y, Copy{});
}

void launch_silu(const CudaContext& context, const SiluForward& op) {
  map(context, op.x, op.y, SiluValue{});
}

void launch_silu_slope(const CudaContext& context, const SiluBackward& op) {
  map2(context, op.grad_y, op.x, op.grad_x, SiluSlopeTimes{});
}

void launch_fill(const CudaContext& context, const Fill& op) {
  const auto count = op.y.elements();
  if (count == 0) return;
  if (op.value == 0.0F) {
    check_cuda(cudaMemsetAsync(op.y.raw(), 0, static_cast<std::size_t>(op.y.bytes()), context.stream),
               "clear a tensor");
    return;
  }
  const auto fill = [&]<class T>(T value) {
    fill_kernel<<<blocks_for(count), kThreads, 0, context.stream>>>(pointer_to<T>(op.y), count, value);
  };
  if (op.y.dtype() == DType::int32) {
    fill(static_cast<std::int32_t>(op.value));
  } else if (op.y.dtype() == DType::bfloat16) {
    fill(__float2bfloat16_rn(op.value));
  } else {
    fill(op.value);
  }
  check_launch("fill");
}

}  // namespace lsd::backends::cuda
