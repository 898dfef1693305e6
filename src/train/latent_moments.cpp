// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/latent_moments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace lsd::train {
namespace {

constexpr float kSmallestVariance = 1e-12F;

}  // namespace

std::string LatentMoments::fingerprint() const {
  ChecksumStream checksum;
  checksum.add(std::as_bytes(std::span(mean)));
  checksum.add(std::as_bytes(std::span(variance)));
  return checksum_hex(checksum.value());
}

LatentMoments moments_of(const io::EmbeddingManifest& dump) {
  if (dump.moments.count < 2) throw DataError("this dump holds fewer than two residues: it gives no moments");
  const auto variance = dump.moments.variance();
  return {.mean = {dump.moments.mean.begin(), dump.moments.mean.end()}, .variance = {variance.begin(), variance.end()}};
}

std::vector<io::NamedArray> named_moments(const LatentMoments& moments) {
  return {io::named_floats("mean", {moments.width()}, moments.mean),
          io::named_floats("variance", {moments.width()}, moments.variance)};
}

LatentMoments read_latent_moments(const io::Checkpoint& checkpoint, std::int64_t width) {
  return with_context("while reading the moments of the latents from " + checkpoint.path.string(), [&] {
    const auto& file = checkpoint.file(kMomentsFile);
    const auto read = [&](const char* name) {
      const auto values = file.require(name, io::ArrayType::float32, {width}).as<float>();
      return std::vector<float>(values.begin(), values.end());
    };
    return LatentMoments{.mean = read("mean"), .variance = read("variance")};
  });
}

LatentStandardiser::LatentStandardiser(Backend& backend, const LatentMoments& moments) {
  const std::int64_t width = moments.width();
  std::vector<float> values;
  const auto append = [&](auto&& of_dimension) {
    for (std::size_t c = 0; c < moments.mean.size(); ++c) {
      const double deviation = std::sqrt(static_cast<double>(std::max(moments.variance[c], kSmallestVariance)));
      values.push_back(static_cast<float>(of_dimension(static_cast<double>(moments.mean[c]), deviation)));
    }
  };
  append([](double, double deviation) { return 1.0 / deviation; });
  append([](double mean, double deviation) { return -mean / deviation; });
  append([](double, double deviation) { return deviation; });
  append([](double mean, double) { return mean; });
  memory_ = backend.allocate(values.size() * sizeof(float));
  const TensorView all(memory_.data(), DType::float32, Shape{4 * width}, backend.device());
  if (!backend.planning()) {
    backend.copy_to_device(all, values.data());
    backend.synchronize();
  }
  scale_ = all.slice(0, width);
  shift_ = all.slice(width, width);
  back_scale_ = all.slice(2 * width, width);
  back_shift_ = all.slice(3 * width, width);
}

void LatentStandardiser::standardise(nn::StepContext& step, ConstTensorView z, TensorView y) const {
  step.backend.pointwise().run(ColumnAffine{.x = z, .scale = scale_, .shift = shift_, .y = y});
}

void LatentStandardiser::restore(nn::StepContext& step, ConstTensorView y, TensorView z) const {
  step.backend.pointwise().run(ColumnAffine{.x = y, .scale = back_scale_, .shift = back_shift_, .y = z});
}

}  // namespace lsd::train
