// SPDX-License-Identifier: Apache-2.0
// Errors of the CPU backend's vector functions against double precision, on every instruction set of this machine.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <vector>

#include "backends/cpu/kernels/kernels_internal.h"
#include "lsd/core/philox.h"

namespace lsd::backends::cpu {
namespace {

std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> out{&sse2::kKernels};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out.push_back(&avx2::kKernels);
  if (&best_kernels() == &avx512::kKernels) out.push_back(&avx512::kKernels);
  return out;
}

std::vector<float> grid(float low, float high, int count) {
  std::vector<float> x;
  for (int i = 0; i < count; ++i)
    x.push_back(low + (high - low) * static_cast<float>(i) / static_cast<float>(count - 1));
  return x;
}

// Largest |actual - expected|, over `unit(expected)`.
double worst(const std::vector<float>& actual, const std::vector<float>& x, const std::function<double(double)>& truth,
             const std::function<double(double)>& unit) {
  double out = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = truth(x[i]);
    out = std::max(out, std::abs(static_cast<double>(actual[i]) - expected) / unit(expected));
  }
  return out;
}

double ulp(double value) {
  return std::ldexp(1.0, std::max(std::ilogb(std::abs(value)), -126) - 23);
}

TEST(ScalarMath, SigmoidLinearUnitIsAccurateToAFewUlp) {
  const auto x = grid(-80.0F, 80.0F, 100001);
  std::vector<float> y(x.size());
  for (const auto* kernels : tables()) {
    kernels->silu(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    EXPECT_LE(worst(
                  y, x, [](double v) { return v / (1.0 + std::exp(-v)); }, ulp),
              4.0)
        << kernels->name;
  }
}

TEST(ScalarMath, GeluIsAccurate) {
  const auto x = grid(-12.0F, 12.0F, 100001);
  std::vector<float> y(x.size());
  const auto one = [](double) { return 1.0; };
  const auto by_size = [](double v) { return std::max(std::abs(v), 1.0); };
  for (const auto* kernels : tables()) {
    kernels->gelu(x.data(), y.data(), static_cast<std::int64_t>(x.size()), GeluKind::erf);
    EXPECT_LE(worst(
                  y, x, [](double v) { return 0.5 * v * std::erfc(-v / std::numbers::sqrt2); }, by_size),
              3e-7)
        << kernels->name;
    kernels->gelu(x.data(), y.data(), static_cast<std::int64_t>(x.size()), GeluKind::tanh);
    EXPECT_LE(worst(
                  y, x,
                  [](double v) {
                    return 0.5 * v * (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
                  },
                  by_size),
              3e-7)
        << kernels->name;
    const std::vector<float> ones(x.size(), 1.0F);
    kernels->gelu_backward(ones.data(), x.data(), y.data(), static_cast<std::int64_t>(x.size()), GeluKind::erf);
    EXPECT_LE(worst(
                  y, x,
                  [](double v) {
                    return 0.5 * std::erfc(-v / std::numbers::sqrt2) +
                           v * std::exp(-0.5 * v * v) / std::sqrt(2.0 * std::numbers::pi);
                  },
                  one),
              5e-7)
        << kernels->name;
  }
}

TEST(ScalarMath, FarEndsAreFinite) {
  const std::vector<float> x{-1e30F, -3e4F, -88.0F, 88.0F, 3e4F, 1e30F};
  std::vector<float> y(x.size());
  for (const auto* kernels : tables()) {
    for (const auto kind : {GeluKind::erf, GeluKind::tanh}) {
      kernels->gelu(x.data(), y.data(), 6, kind);
      EXPECT_EQ(y[5], 1e30F);
      EXPECT_EQ(y[0], 0.0F);
    }
    kernels->silu(x.data(), y.data(), 6);
    EXPECT_EQ(y[5], 1e30F);
    EXPECT_EQ(y[0], 0.0F);
  }
}

TEST(ScalarMath, NotANumberStaysOne) {
  const std::vector<float> x(20, std::numeric_limits<float>::quiet_NaN());
  std::vector<float> y(x.size());
  for (const auto* kernels : tables()) {
    kernels->gelu(x.data(), y.data(), 20, GeluKind::erf);
    EXPECT_TRUE(std::isnan(y[0])) << kernels->name;
    kernels->gelu(x.data(), y.data(), 20, GeluKind::tanh);
    EXPECT_TRUE(std::isnan(y[19])) << kernels->name;
  }
}

// Box-Muller from the words of core/philox.h, in double: within a few ulp of the radius.
TEST(ScalarMath, NormalsAreThoseOfThePhiloxWords) {
  const std::int64_t count = 40000;
  std::vector<float> normals(static_cast<std::size_t>(count));
  const NormalKey key{.seed = 3, .stream = 7, .visit_low = 5, .visit_high = 1, .draw = 2};
  for (const auto* kernels : tables()) {
    kernels->normals(key, 11, normals.data(), count);
    double error = 0.0;
    for (std::int64_t block = 0; block < count / 4; ++block) {
      const auto words = random_words({3, 7}, static_cast<std::uint32_t>(11 + block), (1ULL << 32U) + 5, 2);
      for (int pair = 0; pair < 4; pair += 2) {
        const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(uniform_from_word(words.word[pair]))));
        const double angle = 2.0 * std::numbers::pi * static_cast<double>(uniform_from_word(words.word[pair + 1]));
        const auto* actual = &normals[static_cast<std::size_t>(4 * block + pair)];
        error = std::max({error, std::abs(actual[0] - radius * std::cos(angle)) / ulp(radius),
                          std::abs(actual[1] - radius * std::sin(angle)) / ulp(radius)});
      }
    }
    EXPECT_LE(error, 4.0) << kernels->name;
  }
}

// A tail of any length gives what the same elements give in the middle of a vector.
TEST(ScalarMath, ResultsDoNotDependOnWhereAnElementStands) {
  const auto x = grid(-6.0F, 6.0F, 257);
  for (const auto* kernels : tables()) {
    std::vector<float> whole(x.size());
    kernels->gelu(x.data(), whole.data(), 257, GeluKind::erf);
    for (std::size_t begin = 1; begin < 40; ++begin) {
      std::vector<float> part(x.size());
      const auto count = static_cast<std::int64_t>(x.size() - begin);
      kernels->gelu(x.data() + begin, part.data(), count, GeluKind::erf);
      for (std::int64_t i = 0; i < count; ++i)
        ASSERT_EQ(part[static_cast<std::size_t>(i)], whole[begin + static_cast<std::size_t>(i)]) << kernels->name;
    }
  }
}

}  // namespace
}  // namespace lsd::backends::cpu
