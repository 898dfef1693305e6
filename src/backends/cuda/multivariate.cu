// SPDX-License-Identifier: Apache-2.0
// Matrices are padded by the identity to whole tiles of 32 x 32. Groups that take no part run through the same kernels
// with the identity: how many rows a group has is known on the device only.
#include "cholesky_internal.h"
#include "device_values.cuh"
#include "group_counts.cuh"
#include "multivariate_internal.h"
#include "products_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowWarps = 8;
constexpr int kSumThreads = 1024;
constexpr std::int64_t kChunkRows = 8192;  // rows whose centred values are in scratch at once
struct Memory {
  std::int64_t chunk_rows, d;  // d: padded width
  float *centred, *solved;     // [chunk_rows, d]
  float* covariance;           // [d, d]; later the inverse of S'
  float* factor;               // [d, d]: S', then its Cholesky factor
  float* inverse;              // [d, d]: the factor's inverse
  float* diagonal;             // [d / 32, 32, 32]: inverses of the factor's diagonal tiles
  double* trace;               // [1]: tr S' + mu' mu - d
  void* workspace;
  std::size_t bytes;
};

Memory lay_out(const MultivariateKl& op, void* scratch) {
  const auto d = padded(op.z.shape()[1]), chunk = std::max<std::int64_t>(1, std::min(op.z.shape()[0], kChunkRows));
  Memory out{.chunk_rows = chunk, .d = d};
  std::size_t used = 0;
  const auto take = [&](std::size_t bytes) {
    void* at = scratch != nullptr ? static_cast<std::byte*>(scratch) + used : nullptr;
    used += scratch_line(bytes);
    return at;
  };
  const auto floats = [&](std::int64_t count) {
    return static_cast<float*>(take(static_cast<std::size_t>(count) * sizeof(float)));
  };
  out.workspace = take(Products::kWorkspaceBytes);
  out.centred = floats(chunk * d);
  out.solved = floats(chunk * d);
  out.covariance = floats(d * d);
  out.factor = floats(d * d);
  out.inverse = floats(d * d);
  out.diagonal = floats(d * kTile);
  out.trace = static_cast<double*>(take(sizeof(double)));
  out.bytes = used;
  return out;
}

struct GroupArguments {
  std::int64_t group, groups, width, d;  // d: padded width
  const float *count, *mean;             // [groups], [groups, width]
  const float* share;
  float min_count, shrinkage, weight;
};

// centred[i] = z - mean for rows of the group, 0 for others and in the padding.
template <class Z>
__global__ void centre_kernel(GroupArguments a, const Z* z, const std::int32_t* row_group, std::int64_t first_row,
                              std::int64_t rows, float* centred) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kRowWarps + threadIdx.y, row = first_row + i;
  if (i >= rows) return;
  const bool mine = row_group[row] == a.group;
  for (std::int64_t c = threadIdx.x; c < a.d; c += kWarp) {
    float value[1] = {0.0F};
    if (mine && c < a.width) {
      load<1>(z + row * a.width + c, value);
      value[0] -= a.mean[a.group * a.width + c];
    }
    centred[i * a.d + c] = value[0];
  }
}

// factor = (1 - shrinkage) S + shrinkage I, the identity in the padding and for a group that takes no part.
__global__ void shrink_kernel(GroupArguments a, const float* products, float* factor) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= a.d * a.d) return;
  const auto row = i / a.d, column = i % a.d;
  const float n = a.count[a.group], one = row == column ? 1.0F : 0.0F;
  const bool inside = row < a.width && column < a.width && takes_part(n, a.min_count);
  factor[i] = inside ? products[i] * ((1.0F - a.shrinkage) / n) + a.shrinkage * one : one;
}

__global__ void __launch_bounds__(kSumThreads) trace_kernel(GroupArguments a, const float* factor, double* trace) {
  __shared__ double pieces[kWarp];
  double sum[1] = {0.0};
  for (std::int64_t c = threadIdx.x; c < a.width; c += kSumThreads) {
    const double mean = a.mean[a.group * a.width + c];
    sum[0] += static_cast<double>(factor[c * a.d + c]) + mean * mean - 1.0;
  }
  block_sum(sum, pieces);
  if (threadIdx.x == 0) trace[0] = sum[0];
}

// loss += (trace - ln det S') / (2 d K) for a group that takes part.
__global__ void __launch_bounds__(kSumThreads)
    add_loss_kernel(GroupArguments a, const float* factor, const double* trace, float* loss) {
  __shared__ double pieces[kWarp];
  double log_root[1] = {0.0};
  for (std::int64_t c = threadIdx.x; c < a.width; c += kSumThreads)
    log_root[0] += log(static_cast<double>(factor[c * a.d + c]));
  block_sum(log_root, pieces);
  if (threadIdx.x != 0 || !takes_part(a.count[a.group], a.min_count)) return;
  const double taking_part = groups_taking_part(a.count, a.groups, a.min_count);
  loss[0] += static_cast<float>((trace[0] - 2.0 * log_root[0]) / (2.0 * static_cast<double>(a.width) * taking_part));
}

template <class G>
__global__ void gradient_kernel(GroupArguments a, const std::int32_t* row_group, std::int64_t first_row,
                                std::int64_t rows, const float* centred, const float* solved, const G* grad_in,
                                G* grad_z) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kRowWarps + threadIdx.y, row = first_row + i;
  if (i >= rows || row_group[row] != a.group) return;
  const float n = a.count[a.group];
  if (!takes_part(n, a.min_count)) return;
  const auto taking_part = static_cast<float>(groups_taking_part(a.count, a.groups, a.min_count));
  const float factor =
      a.weight * (a.share != nullptr ? a.share[0] : 1.0F) / (n * static_cast<float>(a.width) * taking_part);
  for (std::int64_t c = threadIdx.x; c < a.width; c += kWarp) {
    const auto at = i * a.d + c;
    float grad[1];
    load<1>(grad_in + row * a.width + c, grad);
    grad[0] += factor * (a.mean[a.group * a.width + c] + (1.0F - a.shrinkage) * (centred[at] - solved[at]));
    store<1>(grad_z + row * a.width + c, grad);
  }
}

unsigned warps_for(std::int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kRowWarps));
}

class GroupWork {
 public:
  GroupWork(const CudaContext& context, const MultivariateKl& op, const Memory& memory, std::int64_t group)
      : context_(context),
        op_(op),
        memory_(memory),
        arguments_{.group = group,
                   .groups = op.mean.shape()[0],
                   .width = op.z.shape()[1],
                   .d = memory.d,
                   .count = op.count.data<float>(),
                   .mean = op.mean.data<float>(),
                   .share = pointer_to<float>(op.share),
                   .min_count = op.min_count,
                   .shrinkage = op.shrinkage,
                   .weight = op.weight} {}

  void run() const {
    const auto d = memory_.d;
    for_chunks([&](std::int64_t first, std::int64_t rows) {
      centre(first, rows);
      multiply({.a = matrix(memory_.centred, rows, d),
                .b = matrix(memory_.centred, rows, d),
                .d = matrix(memory_.covariance, d, d),
                .m = d,
                .n = d,
                .k = rows,
                .a_transposed = true,
                .beta = first == 0 ? 0.0F : 1.0F});
    });
    shrink_kernel<<<static_cast<unsigned>(ceil_div(d * d, kThreads)), kThreads, 0, context_.stream>>>(
        arguments_, memory_.covariance, memory_.factor);
    trace_kernel<<<1, kSumThreads, 0, context_.stream>>>(arguments_, memory_.factor, memory_.trace);
    launch_cholesky(context_, memory_.factor, memory_.d, memory_.diagonal);
    add_loss_kernel<<<1, kSumThreads, 0, context_.stream>>>(arguments_, memory_.factor, memory_.trace,
                                                            op_.loss.data<float>());
    check_launch("multivariate KL");
    if (op_.grad_z.present()) add_gradient();
  }

 private:
  TensorView matrix(float* data, std::int64_t rows, std::int64_t columns) const {
    return {data, DType::float32, {rows, columns}, Device::cuda};
  }
  void multiply(const Product& product) const { context_.products->multiply(product, memory_.workspace); }

  template <class Body>
  void for_chunks(Body&& body) const {
    const auto rows = op_.z.shape()[0];
    for (std::int64_t first = 0; first < rows; first += memory_.chunk_rows)
      body(first, std::min(memory_.chunk_rows, rows - first));
  }

  void centre(std::int64_t first, std::int64_t rows) const {
    visit_type(op_.z.dtype(), [&]<class Z>(TypeTag<Z>) {
      centre_kernel<<<warps_for(rows), dim3(kWarp, kRowWarps), 0, context_.stream>>>(
          arguments_, pointer_to<Z>(op_.z), op_.row_group.data<std::int32_t>(), first, rows, memory_.centred);
    });
    check_launch("centring of latents");
  }

  void add_gradient() const {
    const auto d = memory_.d;
    launch_invert_lower(context_, memory_.factor, memory_.diagonal, d, memory_.inverse);
    multiply({.a = matrix(memory_.inverse, d, d),
              .b = matrix(memory_.inverse, d, d),
              .d = matrix(memory_.covariance, d, d),
              .m = d,
              .n = d,
              .k = d,
              .a_transposed = true});
    for_chunks([&](std::int64_t first, std::int64_t rows) {
      centre(first, rows);
      multiply({.a = matrix(memory_.centred, rows, d),
                .b = matrix(memory_.covariance, d, d),
                .d = matrix(memory_.solved, rows, d),
                .m = rows,
                .n = d,
                .k = d});
      visit_type(op_.grad_z.dtype(), [&]<class G>(TypeTag<G>) {
        gradient_kernel<<<warps_for(rows), dim3(kWarp, kRowWarps), 0, context_.stream>>>(
            arguments_, op_.row_group.data<std::int32_t>(), first, rows, memory_.centred, memory_.solved,
            pointer_to<G>(op_.grad_in), pointer_to<G>(op_.grad_z));
      });
      check_launch("gradient of the multivariate KL");
    });
  }

  const CudaContext& context_;
  const MultivariateKl& op_;
  const Memory& memory_;
  GroupArguments arguments_;
};

}  // namespace

std::size_t multivariate_scratch_bytes(const MultivariateKl& op) {
  return lay_out(op, nullptr).bytes;
}

void launch_multivariate(const CudaContext& context, const MultivariateKl& op, void* scratch) {
  if (op.z.shape()[0] == 0) return;
  const auto memory = lay_out(op, scratch);
  if (op.grad_z.present() && op.grad_z.raw() != op.grad_in.raw())
    check_cuda(cudaMemcpyAsync(op.grad_z.raw(), op.grad_in.raw(), static_cast<std::size_t>(op.grad_in.bytes()),
                               cudaMemcpyDeviceToDevice, context.stream),
               "copy a gradient");
  for (std::int64_t group = 0; group < op.mean.shape()[0]; ++group) GroupWork(context, op, memory, group).run();
}

}  // namespace lsd::backends::cuda
