// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/step_bench.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bench_run.h"
#include "lsd/backends/make_backend.h"

namespace lsd::tasks {
namespace {

using nlohmann::json;

// Two sequences, 10 and 22 tokens: 32 rows, 584 scores per head.
StepBenchResult run(const std::string& work, const std::string& recompute = "none") {
  const auto backend = backends::make_cpu_backend({.threads = 1});
  StepBenchConfig config{.work = work};
  config.recompute = recompute;
  config.json = true;
  config.ceiling = work == "dump";
  return testing::run_bench(config, *backend);
}

constexpr double kRows = 32, kSquares = 584, kWidth = 128, kVocab = 33;
constexpr double kLayerProducts = 2 * kRows * kWidth * (3 * kWidth + kWidth + 2 * 4 * kWidth);  // qkv, out, up and down
constexpr double kToLatents = 2 * kRows * kWidth * kWidth;
constexpr double kLayerAttention = 4 * kWidth * kSquares;

TEST(StepBench, OperationsOfAnEmbeddingPassAreThoseOfItsEncoder) {
  const auto result = run("dump");
  EXPECT_DOUBLE_EQ(result.product_tflop * 1e12, 2 * kLayerProducts + kToLatents);
  EXPECT_DOUBLE_EQ(result.attention_tflop * 1e12, 2 * kLayerAttention);
}

// Every product comes back twice, attention two and a half times.
TEST(StepBench, OperationsOfATrainingStep) {
  const auto result = run("nm");
  EXPECT_DOUBLE_EQ(result.product_tflop * 1e12, 3 * (4 * kLayerProducts + kToLatents + 2 * kRows * kWidth * kVocab));
  EXPECT_DOUBLE_EQ(result.attention_tflop * 1e12, 3.5 * 4 * kLayerAttention);
}

TEST(StepBench, RecomputedOperationsCount) {
  EXPECT_DOUBLE_EQ(run("nm", "block").attention_tflop * 1e12, 4.5 * 4 * kLayerAttention);
}

TEST(StepBench, TheLineHoldsTheNumbersAndTheirRatios) {
  const auto result = run("dump");
  const auto line = json::parse(result.text);
  EXPECT_EQ(line["tokens"], 32);
  EXPECT_NEAR(line["tflops"].get<double>(), (result.product_tflop + result.attention_tflop) / (result.step_ms * 1e-3),
              1e-9);
  EXPECT_EQ(line["ceiling_square"]["rows"], 1024);
  EXPECT_EQ(line["ceiling_own_product"]["rows"], 32);
  EXPECT_GT(result.own_product.tflops, 0.0);
  EXPECT_NEAR(line["share_of_ceiling"].get<double>(),
              result.tflops() / std::max(result.own_product.tflops, result.square.tflops), 1e-4);
  EXPECT_GT(line["peak_resident_bytes"].get<std::int64_t>(), 0);
  EXPECT_EQ(line["device_bytes"], 0);  // a CPU has no memory of its own
}

TEST(StepBench, PartsAreThoseThatRanAndAddUp) {
  const auto parts = run("nm").parts_ms;
  for (const char* name : {"products", "attention", "norms", "optimizer", "losses", "noise"}) {
    ASSERT_TRUE(parts.contains(name)) << name;
    EXPECT_GT(parts.at(name), 0.0) << name;
  }
  EXPECT_GE(parts.at("between operations"), 0.0);
  EXPECT_FALSE(run("dump").parts_ms.contains("optimizer"));
}

// Memory is planned before the run, and the first step is behind when the timed ones begin.
TEST(StepBench, NothingIsAllocatedInsideAStep) {
  for (const char* work : {"nm", "tn", "mlm", "diffusion", "dump"}) EXPECT_EQ(run(work).allocations, 0) << work;
}

TEST(StepBench, AnAllocationInsideAStepWouldBeCounted) {
  const auto backend = backends::make_cpu_backend({.threads = 1});
  const auto memory = backend->allocate(64);
  EXPECT_EQ(backend->op_context().allocations, 1);
  backend->set_planning(true);
  const auto planned = backend->allocate(64);
  EXPECT_EQ(backend->op_context().allocations, 1);
}

}  // namespace
}  // namespace lsd::tasks
