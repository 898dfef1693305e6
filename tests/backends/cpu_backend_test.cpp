// SPDX-License-Identifier: Apache-2.0
// What the CPU backend promises beyond agreeing with the reference: the same bits for any number of threads and any
// place in a batch, bounded memory for long sequences, rejections in words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "backends/host_tensor.h"
#include "backends/op_cases.h"
#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"
#include "lsd/core/stop_signal.h"

namespace lsd::testing {
namespace {

TEST(CpuBackend, ResultsAreTheSameBitsForAnyNumberOfThreads) {
  const CaseSizes sizes{.label = "mixture",
                        .lengths = {300, 1, 64, 700, 65, 2, 400},
                        .dead_rows = 9,
                        .width = 64,
                        .heads = 4,
                        .inner = 600};
  const auto one = backends::make_cpu_backend({.threads = 1}), four = backends::make_cpu_backend({.threads = 4});
  for (const auto type : {DType::float32, DType::bfloat16})
    for (const auto& op_case : op_cases(sizes)) {
      Operands alone(*one, type, 5), together(*four, type, 5);
      plan_and_run(*one, op_case.make(alone));
      plan_and_run(*four, op_case.make(together));
      const auto expected = alone.results(), actual = together.results();
      for (const auto& [name, result] : expected)
        EXPECT_EQ(actual.at(name).bytes, result.bytes) << op_case.name << " " << name;
    }
}

// Signals come while weight gradients are summed, as a scheduler's do. (Handled on the thread that computes, they break
// oneDNN 2.6: most runs of this test then crash.)
TEST(CpuBackend, SignalsLeaveProductsAlone) {
  StopSignal stop;
  stop.install();
  const auto backend = backends::make_cpu_backend({.threads = 2});
  auto grad_y = random_tensor({4096, 512}, 1), x = random_tensor({4096, 128}, 2);
  const auto sums = [&] {
    HostTensor grad_weight({512, 128});
    for (int step = 0; step < 30; ++step)
      plan_and_run(*backend, [&] {
        backend->matrix().run(
            LinearBackwardWeight{.grad_y = grad_y.view(), .x = x.view(), .grad_weight = grad_weight.view()});
      });
    return grad_weight.data;
  };
  const auto undisturbed = sums();
  std::atomic<bool> done = false;
  std::thread sender([&] {
    while (!done) {
      ::kill(::getpid(), SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  while (!stop.requested()) std::this_thread::yield();
  // On a thread made behind install(), as those of programs are: of an earlier test's threads, one may take signals.
  std::vector<float> disturbed;
  std::thread([&] { disturbed = sums(); }).join();
  done = true;
  sender.join();
  EXPECT_TRUE(disturbed == undisturbed);
}

// The same sequence packed first, and packed behind others: linear layers, norms and attention give the same bits.
TEST(CpuBackend, ResultsOfASequenceDoNotDependOnItsPlaceInTheBatch) {
  const auto backend = backends::make_cpu_backend({.threads = 2});
  const int length = 75;
  const std::int64_t rows = 512, width = 64;
  const auto sequence = random_tensor({length, width}, 1), weight = random_tensor({3 * width, width}, 2),
             bias = random_tensor({3 * width}, 3), ones = random_tensor({width}, 4);
  const auto run_at = [&](const std::vector<int>& before, std::vector<int> after) {
    std::vector<int> lengths = before;
    lengths.push_back(length);
    lengths.insert(lengths.end(), after.begin(), after.end());
    std::int64_t begin = 0, used = 0;
    for (const int n : before) begin += n;
    for (const int n : lengths) used += n;
    const HostLayout layout(lengths, static_cast<int>(rows - used));
    HostTensor x = random_tensor({rows, width}, 9), y({rows, width}), mean({rows}), inv_std({rows}),
               qkv({rows, 3 * width}), out({rows, width});
    std::copy(sequence.data.begin(), sequence.data.end(), x.data.begin() + begin * width);
    auto w = weight, b = bias, gain = ones;
    plan_and_run(*backend, [&] {
      backend->norm().run(NormForward{.x = x.view(),
                                      .gain = gain.view(),
                                      .bias = gain.view(),
                                      .y = y.view(),
                                      .mean = mean.view(),
                                      .inv_std = inv_std.view()});
      backend->matrix().run(LinearForward{.x = y.view(), .weight = w.view(), .bias = b.view(), .y = qkv.view()});
      backend->attention().run(
          AttentionForward{.qkv = qkv.view(), .layout = layout.view(), .out = out.view(), .heads = 4});
    });
    return std::vector<float>(out.data.begin() + begin * width, out.data.begin() + (begin + length) * width);
  };
  const auto expected = run_at({}, {100});
  EXPECT_EQ(run_at({1}, {}), expected);
  EXPECT_EQ(run_at({200, 37}, {3, 60}), expected);
  EXPECT_EQ(run_at({255, 6, 101}, {}), expected);
}

// Attention of single rows of a long sequence, straight from the definition.
void expect_long_attention(int length, const std::vector<int>& rows_to_check, double tolerance) {
  const auto backend = backends::make_cpu_backend({.threads = 2});
  const std::int64_t width = 16;
  const HostLayout layout({length}, 0);
  HostTensor qkv = random_tensor({length, 3 * width}, 1), out({length, width});
  const AttentionForward op{.qkv = qkv.view(), .layout = layout.view(), .out = out.view(), .heads = 1};
  plan_and_run(*backend, [&] { backend->attention().run(op); });
  EXPECT_LT(backend->planned_scratch_bytes(), static_cast<std::size_t>(length) * 2000)
      << "memory grows with the length";
  const auto rotated = [&](int row, std::int64_t column, std::int64_t i) {
    const auto* u = qkv.data.data() + row * 3 * width + column;
    const double angle =
        row * std::pow(10000.0, -2.0 * static_cast<double>(i % (width / 2)) / static_cast<double>(width));
    const double a = u[i % (width / 2)], b = u[width / 2 + i % (width / 2)];
    return i < width / 2 ? a * std::cos(angle) - b * std::sin(angle) : b * std::cos(angle) + a * std::sin(angle);
  };
  for (const int row : rows_to_check) {
    std::vector<double> expected(static_cast<std::size_t>(width));
    double total = 0.0;
    for (int j = 0; j < length; ++j) {
      double score = 0.0;
      for (std::int64_t i = 0; i < width; ++i) score += rotated(row, 0, i) * rotated(j, width, i);
      const double p = std::exp(score / std::sqrt(static_cast<double>(width)));
      total += p;
      for (std::int64_t c = 0; c < width; ++c)
        expected[static_cast<std::size_t>(c)] += p * qkv.data[static_cast<std::size_t>(j * 3 * width + 2 * width + c)];
    }
    for (std::int64_t c = 0; c < width; ++c)
      EXPECT_NEAR(out.data[static_cast<std::size_t>(row * width + c)], expected[static_cast<std::size_t>(c)] / total,
                  tolerance)
          << row;
  }
}

TEST(CpuBackend, AttentionOf4096Rows) {
  expect_long_attention(4096, {0, 95, 96, 2047, 4095}, 1e-5);
}
TEST(CpuBackend, AttentionOf35000Rows) {
  expect_long_attention(35000, {0, 17000, 34999}, 1e-5);
}

TEST(CpuBackend, NothingIsAllocatedForAnOpThatWasPlanned) {
  const auto backend = backends::make_cpu_backend({.threads = 2});
  HostTensor x = random_tensor({100, 8}, 1), gain = random_tensor({8}, 2), y({100, 8}), mean({100}), inv_std({100});
  const NormForward op{.x = x.view(),
                       .gain = gain.view(),
                       .bias = gain.view(),
                       .y = y.view(),
                       .mean = mean.view(),
                       .inv_std = inv_std.view()};
  EXPECT_THROW(backend->norm().run(op), InternalError) << "no scratch was reserved";
  plan_and_run(*backend, [&] { backend->norm().run(op); });
}

TEST(CpuBackend, RefusesASequenceLongerThanPlanned) {
  const auto backend = backends::make_cpu_backend({.threads = 1});
  auto layout = HostLayout({10}, 0);
  auto view = layout.view();
  view.max_length = 9;
  HostTensor qkv({10, 12}), out({10, 4});
  const AttentionForward op{.qkv = qkv.view(), .layout = view, .out = out.view()};
  EXPECT_THROW(plan_and_run(*backend, [&] { backend->attention().run(op); }), InternalError);
}

TEST(CpuBackend, RefusesATokenOutsideTheTable) {
  const auto backend = backends::make_cpu_backend({.threads = 1});
  for (const std::int32_t bad : {-1, 3}) {
    HostTensor table({3, 2}), y({1, 2});
    EXPECT_THROW(backend->pointwise().run(EmbeddingForward{
                     .tokens = ConstTensorView(&bad, DType::int32, {1}), .table = table.view(), .y = y.view()}),
                 InternalError);
  }
}

TEST(CpuBackend, NormalsHaveTheirMomentsAndPairs) {
  const auto backend = backends::make_cpu_backend({.threads = 2});
  const std::int64_t rows = 2000, width = 64;
  const HostLayout layout({static_cast<int>(rows)}, 0);
  std::vector<std::int64_t> visits{1};
  HostTensor z({rows, width}), time({rows}, std::vector<float>(rows, 1.0F)), noised({rows, width});
  backend->random().run(NoiseMix{.z = z.view(),
                                 .layout = layout.view(),
                                 .sequence_visit = ConstTensorView(visits.data(), DType::int64, {1}),
                                 .row_time = time.view(),
                                 .noised = noised.view(),
                                 .key = {1, 7}});
  double moments[5] = {};
  for (const double x : noised.data)
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(x, k) / static_cast<double>(rows * width);
  EXPECT_NEAR(moments[1], 0.0, 0.01);
  EXPECT_NEAR(moments[2], 1.0, 0.02);
  EXPECT_NEAR(moments[3], 0.0, 0.04);
  EXPECT_NEAR(moments[4], 3.0, 0.12);
}

TEST(MakeBackend, NamesWhatItDoesNotKnow) {
  EXPECT_THROW(backends::make_backend("gpu", {}), UserError);
  EXPECT_EQ(backends::make_backend("cpu", {.threads = 1})->name(), "cpu");
  if (!backends::cuda_built()) {
    EXPECT_THROW(backends::make_backend("cuda", {}), UserError);
  }
}

TEST(MakeBackend, PlansWithoutMemory) {
  const auto backend = backends::make_backend("cpu", {.threads = 2, .plan_only = true});
  EXPECT_EQ(backend->allocate(1ULL << 50).data(), nullptr);
  const TensorView x(nullptr, DType::float32, {1 << 20, 512}), weight(nullptr, DType::float32, {512, 512});
  backend->matrix().run(LinearForward{.x = x, .weight = weight, .y = x});
  EXPECT_GT(backend->planned_scratch_bytes(), 512U * 512U * 4U);
}

}  // namespace
}  // namespace lsd::testing
