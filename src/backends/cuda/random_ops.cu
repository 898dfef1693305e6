// SPDX-License-Identifier: Apache-2.0
// Philox words are those of core/philox.h, so uniforms have the CPU's bits; Box-Muller is by the accurate library
// functions, with angles in half turns so that no multiple of pi is rounded.
#include "device_values.cuh"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsPerBlock = 8;

__device__ __forceinline__ void four_normals(RandomKey key, std::uint32_t block, std::uint64_t visit,
                                             std::uint32_t draw, float* out) {
  const PhiloxWords words = random_words(key, block, visit, draw);
#pragma unroll
  for (int pair = 0; pair < 4; pair += 2) {
    const float radius = sqrtf(-2.0F * logf(uniform_from_word(words.word[pair])));
    float sine = 0.0F, cosine = 0.0F;
    sincospif(2.0F * uniform_from_word(words.word[pair + 1]), &sine, &cosine);
    out[pair] = radius * cosine;
    out[pair + 1] = radius * sine;
  }
}

__global__ void uniform_kernel(const std::int32_t* row_sequence, const std::int32_t* row_position,
                               const std::int64_t* sequence_visit, float* out, std::int64_t rows, RandomKey key) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const auto sequence = row_sequence[row];
  out[row] = sequence < 0 ? 0.0F
                          : random_uniform(key, static_cast<std::uint32_t>(row_position[row]),
                                           static_cast<std::uint64_t>(sequence_visit[sequence]));
}

struct NoiseArguments {
  const std::int32_t *row_sequence, *row_position;
  const std::int64_t* sequence_visit;
  const float *row_time, *sequence_time;
  std::int64_t rows, width;
  RandomKey key;
  std::uint32_t draw;
};

// One warp per row; N is 4 or 8, so that whole Philox counters fall to a thread.
template <int N, class Z, class Out, class V>
__global__ void noise_mix_kernel(NoiseArguments a, const Z* z, Out* noised, V* velocity) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.y;
  if (row >= a.rows) return;
  const auto sequence = a.row_sequence[row];
  const bool live = sequence >= 0;
  float sine = 0.0F, cosine = 1.0F;
  std::uint64_t visit = 0;
  std::uint32_t first_element = 0;
  if (live) {
    const float time = a.row_time != nullptr ? a.row_time[row] : a.sequence_time[sequence];
    sincospif(0.5F * time, &sine, &cosine);
    visit = static_cast<std::uint64_t>(a.sequence_visit[sequence]);
    first_element = static_cast<std::uint32_t>(static_cast<std::int64_t>(a.row_position[row]) * a.width);
  }
  for (std::int64_t c = threadIdx.x * N; c < a.width; c += kWarp * N) {
    const auto at = row * a.width + c;
    float value[N], noise[N] = {}, speed[N];
    load<N>(z + at, value);
    if (live) {
#pragma unroll
      for (int k = 0; k < N; k += 4)
        four_normals(a.key, (first_element + static_cast<std::uint32_t>(c + k)) / 4, visit, a.draw, noise + k);
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      speed[k] = live ? cosine * noise[k] - sine * value[k] : 0.0F;
      value[k] = live ? cosine * value[k] + sine * noise[k] : value[k];
    }
    store<N>(noised + at, value);
    if (velocity != nullptr) store<N>(velocity + at, speed);
  }
}

template <int N, class G, class Out>
__global__ void noise_mix_backward_kernel(const G* grad, const float* row_time, const std::int32_t* row_sequence,
                                          Out* out, std::int64_t rows, std::int64_t width) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.y;
  if (row >= rows) return;
  const float cosine = row_sequence[row] < 0 ? 1.0F : cospif(0.5F * row_time[row]);
  for (std::int64_t c = threadIdx.x * N; c < width; c += kWarp * N) {
    float value[N];
    load<N>(grad + row * width + c, value);
#pragma unroll
    for (int k = 0; k < N; ++k) value[k] *= cosine;
    store<N>(out + row * width + c, value);
  }
}

class CudaRandomOps : public RandomOps {
 public:
  explicit CudaRandomOps(CudaContext& context) : RandomOps(context.ops), context_(context) {}

 private:
  void launch(const UniformPerRow& op) override;
  void launch(const NoiseMix& op) override;
  void launch(const NoiseMixBackward& op) override;

  CudaContext& context_;
};

unsigned row_blocks(std::int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kRowsPerBlock));
}

void CudaRandomOps::launch(const UniformPerRow& op) {
  const auto rows = op.layout.rows();
  if (rows == 0) return;
  uniform_kernel<<<static_cast<unsigned>(ceil_div(rows, kThreads)), kThreads, 0, context_.stream>>>(
      op.layout.row_sequence.data<std::int32_t>(), op.layout.row_position.data<std::int32_t>(),
      op.sequence_visit.data<std::int64_t>(), op.out.data<float>(), rows, op.key);
  check_launch("uniform per row");
}

// As visit_vector, but never fewer than four: a width of NoiseMix is a multiple of 4.
template <class Body>
void visit_counters(std::int64_t width, std::initializer_list<const void*> pointers, Body&& body) {
  check(aligned16(pointers), "operands of NoiseMix start at multiples of 16 bytes");
  if (width % 8 == 0)
    body(IntTag<8>{});
  else
    body(IntTag<4>{});
}

void CudaRandomOps::launch(const NoiseMix& op) {
  const auto rows = op.z.shape()[0], width = op.z.shape()[1];
  if (rows == 0) return;
  const NoiseArguments arguments{.row_sequence = op.layout.row_sequence.data<std::int32_t>(),
                                 .row_position = op.layout.row_position.data<std::int32_t>(),
                                 .sequence_visit = op.sequence_visit.data<std::int64_t>(),
                                 .row_time = pointer_to<float>(op.row_time),
                                 .sequence_time = pointer_to<float>(op.sequence_time),
                                 .rows = rows,
                                 .width = width,
                                 .key = op.key,
                                 .draw = op.draw};
  const auto velocity_type = op.velocity.present() ? op.velocity.dtype() : op.noised.dtype();
  visit_counters(width, {op.z.raw(), op.noised.raw(), op.velocity.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(op.z.dtype(), [&]<class Z>(TypeTag<Z>) {
      visit_type(op.noised.dtype(), [&]<class Out>(TypeTag<Out>) {
        visit_type(velocity_type, [&]<class V>(TypeTag<V>) {
          noise_mix_kernel<N><<<row_blocks(rows), dim3(kWarp, kRowsPerBlock), 0, context_.stream>>>(
              arguments, pointer_to<Z>(op.z), pointer_to<Out>(op.noised), pointer_to<V>(op.velocity));
        });
      });
    });
  });
  check_launch("noise and mix");
}

void CudaRandomOps::launch(const NoiseMixBackward& op) {
  const auto rows = op.grad_z.shape()[0], width = op.grad_z.shape()[1];
  if (rows == 0) return;
  visit_vector(width, {op.grad_noised.raw(), op.grad_z.raw()}, [&]<int N>(IntTag<N>) {
    visit_type(op.grad_noised.dtype(), [&]<class G>(TypeTag<G>) {
      visit_type(op.grad_z.dtype(), [&]<class Out>(TypeTag<Out>) {
        noise_mix_backward_kernel<N><<<row_blocks(rows), dim3(kWarp, kRowsPerBlock), 0, context_.stream>>>(
            pointer_to<G>(op.grad_noised), op.row_time.data<float>(), op.row_sequence.data<std::int32_t>(),
            pointer_to<Out>(op.grad_z), rows, width);
      });
    });
  });
  check_launch("backward of noise and mix");
}

}  // namespace

std::unique_ptr<RandomOps> make_random_ops(CudaContext& context) {
  return std::make_unique<CudaRandomOps>(context);
}

}  // namespace lsd::backends::cuda
