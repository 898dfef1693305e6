// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "cpu_internal.h"

namespace lsd::backends::cpu {
namespace {

class CpuRandomOps : public RandomOps {
 public:
  explicit CpuRandomOps(const Setup& setup) : RandomOps(setup.context), setup_(setup) {}

 private:
  void launch(const UniformPerRow& op) override {
    const auto* sequences = op.layout.row_sequence.data<std::int32_t>();
    const auto* positions = op.layout.row_position.data<std::int32_t>();
    const auto* visits = op.sequence_visit.data<std::int64_t>();
    auto* out = op.out.data<float>();
    parallel_rows(setup_.threads, op.layout.rows(), kChunk, [&](std::int64_t first, std::int64_t last, int) {
      for (std::int64_t r = first; r < last; ++r)
        out[r] = sequences[r] < 0 ? 0.0F
                                  : random_uniform(op.key, static_cast<std::uint32_t>(positions[r]),
                                                   static_cast<std::uint64_t>(visits[sequences[r]]));
    });
  }

  void launch(const NoiseMix& op) override {
    const auto rows = op.z.shape()[0], width = op.z.shape()[1];
    const auto* sequences = op.layout.row_sequence.data<std::int32_t>();
    const auto& kernels = setup_.kernels;
    const Reader z(op.z, kernels);
    const Writer noised(op.noised, kernels), velocity(op.velocity, kernels);
    parallel_rows(setup_.threads, rows, kRowBlock, [&](std::int64_t first, std::int64_t last, int) {
      alignas(64) float noise[kChunk], read[kChunk], made_noised[kChunk], made_velocity[kChunk];
      for (std::int64_t r = first; r < last; ++r) {
        const float time = time_of(op, r, sequences[r]);
        const float angle = 0.5F * std::numbers::pi_v<float> * time;
        const float cosine = std::cos(angle), sine = std::sin(angle);
        for (std::int64_t c = 0; c < width; c += kChunk) {
          const auto count = std::min(kChunk, width - c), begin = r * width + c;
          draw(op, r, sequences[r], c, noise, count);
          const float* clean = z.read(begin, count, read);
          float* to_velocity = velocity.target(begin, made_velocity);
          if (to_velocity != nullptr) {
            kernels.linear_combination(cosine, noise, -sine, clean, to_velocity, count);
            velocity.finish(begin, count, to_velocity);
          }
          float* to_noised = noised.target(begin, made_noised);  // last: it may be z's memory
          kernels.linear_combination(cosine, clean, sine, noise, to_noised, count);
          noised.finish(begin, count, to_noised);
        }
      }
    });
  }

  // Dead rows stand at time 0, where noised = z, and have no noise, so their velocity is 0.
  static float time_of(const NoiseMix& op, std::int64_t row, std::int32_t sequence) {
    if (sequence < 0) return 0.0F;
    return op.row_time.present() ? op.row_time.data<float>()[row] : op.sequence_time.data<float>()[sequence];
  }

  void draw(const NoiseMix& op, std::int64_t row, std::int32_t sequence, std::int64_t column, float* noise,
            std::int64_t count) const {
    if (sequence < 0) {
      std::fill_n(noise, count, 0.0F);
      return;
    }
    const auto visit = static_cast<std::uint64_t>(op.sequence_visit.data<std::int64_t>()[sequence]);
    const auto element = op.layout.row_position.data<std::int32_t>()[row] * op.z.shape()[1] + column;
    setup_.kernels.normals({.seed = op.key.seed,
                            .stream = op.key.stream,
                            .visit_low = static_cast<std::uint32_t>(visit),
                            .visit_high = static_cast<std::uint32_t>(visit >> 32U),
                            .draw = op.draw},
                           static_cast<std::uint32_t>(element / 4), noise, count);
  }

  void launch(const NoiseMixBackward& op) override {
    const auto rows = op.grad_z.shape()[0], width = op.grad_z.shape()[1];
    const auto& kernels = setup_.kernels;
    const Reader grad_noised(op.grad_noised, kernels);
    const Writer grad_z(op.grad_z, kernels);
    parallel_rows(setup_.threads, rows, kRowBlock, [&](std::int64_t first, std::int64_t last, int) {
      alignas(64) float read[kChunk], made[kChunk];
      for (std::int64_t r = first; r < last; ++r) {
        const bool dead = op.row_sequence.data<std::int32_t>()[r] < 0;
        const float cosine = dead ? 1.0F : std::cos(0.5F * std::numbers::pi_v<float> * op.row_time.data<float>()[r]);
        for (std::int64_t c = 0; c < width; c += kChunk) {
          const auto count = std::min(kChunk, width - c), begin = r * width + c;
          float* to = grad_z.target(begin, made);
          kernels.scale(cosine, grad_noised.read(begin, count, read), to, count);
          grad_z.finish(begin, count, to);
        }
      }
    });
  }

  Setup setup_;
};

}  // namespace

std::unique_ptr<RandomOps> make_random_ops(const Setup& setup) {
  return std::make_unique<CpuRandomOps>(setup);
}

}  // namespace lsd::backends::cpu
