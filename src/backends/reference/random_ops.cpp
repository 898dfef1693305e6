// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "families_internal.h"
#include "values_internal.h"

namespace lsd::backends::reference {
namespace {

// Element `element` of one visit's standard normals (Box-Muller, see core/philox.h).
double normal(RandomKey key, std::uint32_t element, std::uint64_t visit, std::uint32_t draw) {
  const auto words = random_words(key, element / 4, visit, draw);
  const auto pair = element % 4 / 2 * 2;
  const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(uniform_from_word(words.word[pair]))));
  const double angle = 2.0 * std::numbers::pi * static_cast<double>(uniform_from_word(words.word[pair + 1]));
  return radius * (element % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

class ReferenceRandomOps : public RandomOps {
 public:
  using RandomOps::RandomOps;

 private:
  void launch(const UniformPerRow& op) override {
    const auto* sequences = op.layout.row_sequence.data<std::int32_t>();
    const auto* positions = op.layout.row_position.data<std::int32_t>();
    for (std::int64_t r = 0; r < op.layout.rows(); ++r)
      op.out.data<float>()[r] =
          sequences[r] < 0
              ? 0.0F
              : random_uniform(op.key, static_cast<std::uint32_t>(positions[r]),
                               static_cast<std::uint64_t>(op.sequence_visit.data<std::int64_t>()[sequences[r]]));
  }

  void launch(const NoiseMix& op) override {
    const auto rows = op.z.shape()[0], width = op.z.shape()[1];
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto sequence = op.layout.row_sequence.data<std::int32_t>()[r];
      const auto position = op.layout.row_position.data<std::int32_t>()[r];
      const bool dead = sequence < 0;
      const double time = dead                    ? 0.0
                          : op.row_time.present() ? op.row_time.data<float>()[r]
                                                  : op.sequence_time.data<float>()[sequence];
      const double cosine = std::cos(0.5 * std::numbers::pi * time), sine = std::sin(0.5 * std::numbers::pi * time);
      for (std::int64_t c = 0; c < width; ++c) {
        const auto i = r * width + c;
        const double z = ConstValues(op.z)[i];
        const double noise =
            dead ? 0.0
                 : normal(op.key, static_cast<std::uint32_t>(position * width + c),
                          static_cast<std::uint64_t>(op.sequence_visit.data<std::int64_t>()[sequence]), op.draw);
        Values(op.noised).set(i, dead ? z : cosine * z + sine * noise);
        if (op.velocity.present()) Values(op.velocity).set(i, dead ? 0.0 : cosine * noise - sine * z);
      }
    }
  }

  void launch(const NoiseMixBackward& op) override {
    const auto rows = op.grad_z.shape()[0], width = op.grad_z.shape()[1];
    for (std::int64_t r = 0; r < rows; ++r) {
      const bool dead = op.row_sequence.data<std::int32_t>()[r] < 0;
      const double cosine = dead ? 1.0 : std::cos(0.5 * std::numbers::pi * op.row_time.data<float>()[r]);
      for (std::int64_t c = 0; c < width; ++c)
        Values(op.grad_z).set(r * width + c, cosine * ConstValues(op.grad_noised)[r * width + c]);
    }
  }
};

}  // namespace

std::unique_ptr<RandomOps> make_random_ops(const Setup& setup) {
  return std::make_unique<ReferenceRandomOps>(setup.context);
}

}  // namespace lsd::backends::reference
