// SPDX-License-Identifier: Apache-2.0
#include "device_values.cuh"
#include "group_counts.cuh"
#include "multivariate_internal.h"
#include "sequence_mean_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSumThreads = 1024;
constexpr int kRowWarps = 8;

__global__ void add_counts_kernel(const std::int32_t* partial, std::int64_t blocks, std::int64_t groups, float* count) {
  const std::int64_t g = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (g >= groups) return;
  std::int32_t total = 0;
  for (std::int64_t b = 0; b < blocks; ++b) total += partial[b * groups + g];
  count[g] = static_cast<float>(total);
}

// out[g, c] = sum over blocks / count[g]; 0 for an empty group.
__global__ void mean_of_partials_kernel(const float* partial, std::int64_t blocks, std::int64_t groups,
                                        std::int64_t width, const float* count, float* out) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, stride = groups * width;
  if (i >= stride) return;
  float sum = 0.0F;
#pragma unroll 8
  for (std::int64_t b = 0; b < blocks; ++b) sum += partial[b * stride + i];
  const float n = count[i / width];
  out[i] = n > 0.0F ? sum / n : 0.0F;
}

struct KlArguments {
  const float *count, *mean, *variance;
  float *offset, *slope, *loss;
  std::int64_t groups, width;
  float min_count, variance_floor;
};

// One block: there are at most a few ten thousand moments.
__global__ void __launch_bounds__(kSumThreads) univariate_kl_kernel(KlArguments a) {
  __shared__ double pieces[kWarp];
  const double taking_part = groups_taking_part(a.count, a.groups, a.min_count);
  const double floor = a.variance_floor, width = static_cast<double>(a.width);
  double loss[1] = {0.0};
  for (std::int64_t i = threadIdx.x; i < a.groups * a.width; i += kSumThreads) {
    const float n = a.count[i / a.width];
    const bool part = takes_part(n, a.min_count);
    const double mean = a.mean[i], raw = a.variance[i], variance = raw > floor ? raw : floor;
    const double share = part ? 1.0 / (width * taking_part) : 0.0;
    if (part) loss[0] += 0.5 * (mean * mean + variance - 1.0 - log(variance)) * share;
    a.offset[i] = part ? static_cast<float>(mean * share / n) : 0.0F;
    a.slope[i] = part && raw >= floor ? static_cast<float>((1.0 - 1.0 / variance) * share / n) : 0.0F;
  }
  block_sum(loss, pieces);
  if (threadIdx.x == 0) a.loss[0] += static_cast<float>(loss[0]);
}

struct GradientArguments {
  const std::int32_t* row_group;
  const float *mean, *offset, *slope, *share;
  std::int64_t rows, width;
  float weight;
};

template <int N, class Z, class G>
__global__ void moment_gradient_kernel(GradientArguments a, const G* grad_in, const Z* z, G* grad_z) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowWarps + threadIdx.y;
  if (row >= a.rows) return;
  const std::int64_t group = a.row_group[row];
  const float factor = a.weight * (a.share != nullptr ? a.share[0] : 1.0F);
  for (std::int64_t c = threadIdx.x * N; c < a.width; c += kWarp * N) {
    float grad[N];
    load<N>(grad_in + row * a.width + c, grad);
    if (group >= 0) {
      const auto at = group * a.width + c;
      float value[N], mean[N], offset[N], slope[N];
      load<N>(z + row * a.width + c, value);
      load<N>(a.mean + at, mean);
      load<N>(a.offset + at, offset);
      load<N>(a.slope + at, slope);
#pragma unroll
      for (int k = 0; k < N; ++k) grad[k] += factor * (offset[k] + slope[k] * (value[k] - mean[k]));
    }
    store<N>(grad_z + row * a.width + c, grad);
  }
}

class CudaReduceOps : public ReduceOps {
 public:
  explicit CudaReduceOps(CudaContext& context) : ReduceOps(context.ops), context_(context) {}

 private:
  static std::size_t moment_partial_bytes(const GroupMoments& op) {
    return group_partial_bytes(op.z.shape()[0], op.count.elements(), op.z.shape()[1]);
  }
  std::size_t scratch_bytes(const GroupMoments& op) const override {
    const auto counts = group_sum_blocks(op.z.shape()[0]).blocks() * op.count.elements();
    return moment_partial_bytes(op) + static_cast<std::size_t>(counts) * sizeof(std::int32_t);
  }
  std::size_t scratch_bytes(const UnivariateKl&) const override { return 0; }
  std::size_t scratch_bytes(const MomentGradient&) const override { return 0; }
  std::size_t scratch_bytes(const MultivariateKl& op) const override { return multivariate_scratch_bytes(op); }
  std::size_t scratch_bytes(const SequenceMean& op) const override { return sequence_mean_scratch_bytes(op); }
  void launch(const GroupMoments& op) override;
  void launch(const UnivariateKl& op) override;
  void launch(const MomentGradient& op) override;
  void launch(const MultivariateKl& op) override {
    launch_multivariate(context_, op, context_.ops.scratch_for("MultivariateKl", scratch_bytes(op)));
  }
  void launch(const SequenceMean& op) override {
    launch_sequence_mean(context_, op, context_.ops.scratch_for("SequenceMean", scratch_bytes(op)));
  }
  void mean_of_partials(const GroupMoments& op, const float* partial, TensorView out);

  CudaContext& context_;
};

void CudaReduceOps::mean_of_partials(const GroupMoments& op, const float* partial, TensorView out) {
  const auto groups = op.count.elements(), width = op.z.shape()[1];
  mean_of_partials_kernel<<<static_cast<unsigned>(ceil_div(groups * width, kThreads)), kThreads, 0, context_.stream>>>(
      partial, group_sum_blocks(op.z.shape()[0]).blocks(), groups, width, op.count.data<float>(), out.data<float>());
  check_launch("means of groups");
}

void CudaReduceOps::launch(const GroupMoments& op) {
  const auto rows = op.z.shape()[0], groups = op.count.elements();
  auto* memory = static_cast<std::byte*>(context_.ops.scratch_for("GroupMoments", scratch_bytes(op)));
  auto* partial = reinterpret_cast<float*>(memory);
  auto* counts = reinterpret_cast<std::int32_t*>(memory + moment_partial_bytes(op));
  GroupSums sums{.x = op.z,
                 .row_group = op.row_group.data<std::int32_t>(),
                 .groups = groups,
                 .partial = partial,
                 .partial_count = counts};
  if (rows > 0) launch_group_sums(context_, sums);
  add_counts_kernel<<<static_cast<unsigned>(ceil_div(groups, kThreads)), kThreads, 0, context_.stream>>>(
      counts, group_sum_blocks(rows).blocks(), groups, op.count.data<float>());
  check_launch("counts of groups");
  mean_of_partials(op, partial, op.mean);
  sums.mean = op.mean.data<float>();
  sums.partial_count = nullptr;
  if (rows > 0) launch_group_sums(context_, sums);
  mean_of_partials(op, partial, op.variance);
}

void CudaReduceOps::launch(const UnivariateKl& op) {
  univariate_kl_kernel<<<1, kSumThreads, 0, context_.stream>>>({.count = op.count.data<float>(),
                                                                .mean = op.mean.data<float>(),
                                                                .variance = op.variance.data<float>(),
                                                                .offset = op.offset.data<float>(),
                                                                .slope = op.slope.data<float>(),
                                                                .loss = op.loss.data<float>(),
                                                                .groups = op.mean.shape()[0],
                                                                .width = op.mean.shape()[1],
                                                                .min_count = op.min_count,
                                                                .variance_floor = op.variance_floor});
  check_launch("univariate KL");
}

void CudaReduceOps::launch(const MomentGradient& op) {
  const auto rows = op.z.shape()[0], width = op.z.shape()[1];
  if (rows == 0) return;
  const GradientArguments arguments{.row_group = op.row_group.data<std::int32_t>(),
                                    .mean = op.mean.data<float>(),
                                    .offset = op.offset.data<float>(),
                                    .slope = op.slope.data<float>(),
                                    .share = pointer_to<float>(op.share),
                                    .rows = rows,
                                    .width = width,
                                    .weight = op.weight};
  const auto blocks = static_cast<unsigned>(ceil_div(rows, kRowWarps));
  visit_vector(width, {op.grad_in.raw(), op.z.raw(), op.grad_z.raw(), op.mean.raw(), op.offset.raw(), op.slope.raw()},
               [&]<int N>(IntTag<N>) {
                 visit_type(op.z.dtype(), [&]<class Z>(TypeTag<Z>) {
                   visit_type(op.grad_in.dtype(), [&]<class G>(TypeTag<G>) {
                     moment_gradient_kernel<N><<<blocks, dim3(kWarp, kRowWarps), 0, context_.stream>>>(
                         arguments, pointer_to<G>(op.grad_in), pointer_to<Z>(op.z), pointer_to<G>(op.grad_z));
                   });
                 });
               });
  check_launch("gradient of moments");
}

}  // namespace

std::unique_ptr<ReduceOps> make_reduce_ops(CudaContext& context) {
  return std::make_unique<CudaReduceOps>(context);
}

}  // namespace lsd::backends::cuda
