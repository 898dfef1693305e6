// SPDX-License-Identifier: Apache-2.0
#include "lsd/models/representations.h"

#include <array>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "lsd/core/error.h"
#include "lsd/nn/linear.h"

namespace lsd::models {
namespace {

constexpr std::array kRepresentations = {Representation::encoder, Representation::diffusion, Representation::eps,
                                         Representation::score, Representation::denoised};
constexpr std::array kInputs = {DenoiserInput::clean, DenoiserInput::scaled, DenoiserInput::noised};

struct Pair {
  double first = 0.0, second = 0.0;
};

// out = first * v + second * (z or z_in)
Pair combination_of(Representation representation, double c, double s) {
  switch (representation) {
    case Representation::encoder:
      return {0.0, 1.0};
    case Representation::diffusion:
      return {1.0, s};
    case Representation::eps:
      return {c, s};
    case Representation::score:
      return {-c / s, -1.0};
    case Representation::denoised:
      return {-s, c};
  }
  return {};
}

void append_pairs(std::vector<float>& values, Pair pair, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(pair.first));
    values.push_back(static_cast<float>(pair.second));
  }
}

}  // namespace

std::string_view name_of(Representation representation) {
  switch (representation) {
    case Representation::encoder:
      return "encoder";
    case Representation::diffusion:
      return "diffusion";
    case Representation::eps:
      return "eps";
    case Representation::score:
      return "score";
    case Representation::denoised:
      return "denoised";
  }
  return "";
}

std::string_view name_of(DenoiserInput input) {
  switch (input) {
    case DenoiserInput::clean:
      return "clean";
    case DenoiserInput::scaled:
      return "scaled";
    case DenoiserInput::noised:
      return "noised";
  }
  return "";
}

Representation representation_from_name(std::string_view name) {
  for (const auto candidate : kRepresentations)
    if (name_of(candidate) == name) return candidate;
  throw UserError("there is no representation '" + std::string(name) +
                  "': use encoder, diffusion, eps, score or denoised");
}

DenoiserInput denoiser_input_from_name(std::string_view name) {
  for (const auto candidate : kInputs)
    if (name_of(candidate) == name) return candidate;
  throw UserError("there is no denoiser input '" + std::string(name) + "': use clean, scaled or noised");
}

void RepresentationSpec::validate() const {
  if (!(time >= 0.0 && time <= 1.0))
    throw UserError("a representation's t lies in [0, 1], not " + std::to_string(time));
  if (representation == Representation::score && time == 0.0)
    throw UserError("the score is singular at t = 0: take t > 0, or the eps representation");
  if (draws < 1) throw UserError("the noised input needs at least one draw");
}

RepresentationMap::RepresentationMap(Backend& backend, const RepresentationSpec& spec, std::int64_t max_sequences)
    : spec_(spec), max_sequences_(max_sequences) {
  spec_.validate();
  const double time = effective_time(spec_.schedule, spec_.time), theta = 0.5 * std::numbers::pi * time;
  const double c = std::cos(theta), s = std::sin(theta);
  std::vector<float> values(static_cast<std::size_t>(max_sequences), static_cast<float>(time));
  append_pairs(values, combination_of(spec_.representation, c, s), max_sequences);
  append_pairs(values, {c, 0.0}, max_sequences);
  append_pairs(values, {1.0, 1.0 / static_cast<double>(spec_.draws)}, max_sequences);

  memory_ = backend.allocate(values.size() * sizeof(float));
  const TensorView all(memory_.data(), DType::float32, Shape{static_cast<std::int64_t>(values.size())},
                       backend.device());
  if (!backend.planning()) {
    backend.copy_to_device(all, values.data());
    backend.synchronize();
  }
  times_ = all.slice(0, max_sequences);
  const auto pairs = [&](std::int64_t which) {
    return all.slice((1 + 2 * which) * max_sequences, 2 * max_sequences).reshaped(Shape{max_sequences, 2});
  };
  combination_ = pairs(0);
  scaling_ = pairs(1);
  average_ = pairs(2);
}

void RepresentationMap::combine(nn::StepContext& step, const Batch& batch, ConstTensorView z, ConstTensorView z_in,
                                ConstTensorView velocity, TensorView out) const {
  const bool reads_clean = spec_.representation == Representation::diffusion;
  step.backend.pointwise().run(LinearCombination{.x = velocity,
                                                 .y = reads_clean ? z : z_in,
                                                 .coefficients = combination_,
                                                 .row_sequence = batch.layout.row_sequence,
                                                 .out = out});
}

TensorView RepresentationMap::apply(nn::StepContext& step, Denoiser* denoiser, const Batch& batch,
                                    ConstTensorView z) const {
  check(batch.layout.max_sequences() == max_sequences_, "a representation is made for the batch's max_sequences");
  TensorView out = step.arena.like(z);
  if (spec_.representation == Representation::encoder) {
    nn::convert(step, z, out);
    return out;
  }
  check(denoiser != nullptr, "this representation needs a denoiser");
  const ArenaScope scope(step.arena);
  if (spec_.input != DenoiserInput::noised) {
    ConstTensorView z_in = z;
    if (spec_.input == DenoiserInput::scaled) {
      TensorView scaled = step.arena.like(z);
      step.backend.pointwise().run(LinearCombination{
          .x = z, .y = z, .coefficients = scaling_, .row_sequence = batch.layout.row_sequence, .out = scaled});
      z_in = scaled;
    }
    combine(step, batch, z, z_in, denoiser->velocity(step, batch.layout, z_in, times_), out);
    return out;
  }
  average_over_draws(step, *denoiser, batch, z, out);
  return out;
}

void RepresentationMap::average_over_draws(nn::StepContext& step, Denoiser& denoiser, const Batch& batch,
                                           ConstTensorView z, TensorView out) const {
  // Summed in float32: in bfloat16 the sum of some hundred draws would stand still.
  TensorView z_in = step.arena.like(z), one = step.arena.like(z);
  TensorView exact = step.arena.allocate(DType::float32, z.shape()), sum = step.arena.like(exact),
             next = step.arena.like(exact);
  step.backend.pointwise().run(Fill{.y = sum, .value = 0.0F});
  for (std::int64_t draw = 0; draw < spec_.draws; ++draw) {
    const ArenaScope scope(step.arena);
    step.backend.random().run(NoiseMix{.z = z,
                                       .layout = batch.layout,
                                       .sequence_visit = batch.sequence_visit,
                                       .sequence_time = times_,
                                       .noised = z_in,
                                       .key = step.key(RandomStream::diffusion_noise),
                                       .draw = static_cast<std::uint32_t>(draw)});
    combine(step, batch, z, z_in, denoiser.velocity(step, batch.layout, z_in, times_), one);
    nn::convert(step, one, exact);
    step.backend.pointwise().run(LinearCombination{
        .x = sum, .y = exact, .coefficients = average_, .row_sequence = batch.layout.row_sequence, .out = next});
    std::swap(sum, next);
  }
  nn::convert(step, sum, out);
}

}  // namespace lsd::models
