// SPDX-License-Identifier: Apache-2.0
// The CUDA backend's kernels and its calls of cuBLASLt, on the host: every op against the reference. What only a GPU
// can show is in tests/backends/gpu.
#include "backends/agreement.h"
#include "lsd/backends/cuda_device.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"

namespace lsd::testing {
namespace {

// Widths that can and cannot be read eight at a time; sequences that begin and end within blocks of 32 rows.
std::vector<Parameter> small_parameters() {
  const std::vector<CaseSizes> sizes{
      {.label = "narrow", .lengths = {1, 31, 33, 2}, .dead_rows = 5, .width = 36, .heads = 3, .inner = 50},
      {.label = "one_row", .lengths = {1}, .dead_rows = 0, .width = 4, .heads = 1, .inner = 3, .vocab = 5, .groups = 2},
      {.label = "vectors", .lengths = {40, 1, 30}, .dead_rows = 1, .width = 264, .heads = 3, .inner = 72, .groups = 48},
      {.label = "hundreds",
       .lengths = std::vector<int>(60, 2),
       .dead_rows = 0,
       .width = 40,
       .heads = 1,
       .inner = 65,
       .vocab = 48}};
  std::vector<Parameter> out;
  for (const auto& size : sizes)
    for (const auto type : {DType::float32, DType::bfloat16}) {
      // Four values are too few for a norm to average a bfloat16 that rounds the other way.
      if (size.rows() > 1 || type == DType::float32) out.push_back({size, type});
    }
  return out;
}

class CudaOnTheHost : public ::testing::TestWithParam<Parameter> {};

TEST_P(CudaOnTheHost, EveryOpAgreesWithTheReference) {
  expect_agreement(GetParam(), {{"emulated cuda, deterministic",
                                 [] { return backends::make_cuda_backend({.deterministic = true}); }},
                                {"emulated cuda", [] { return backends::make_cuda_backend({}); }}});
}

// Where no device is: shapes alone say what scratch a run needs.
TEST_P(CudaOnTheHost, PlansTheScratchOfARunWithoutADevice) {
  const auto planner = backends::make_cuda_backend({.plan_only = true}), device = backends::make_cuda_backend({});
  EXPECT_FALSE(backends::cuda_device_of(*planner).present());
  EXPECT_TRUE(backends::cuda_device_of(*device).present());
  for (const auto& op_case : op_cases(GetParam().sizes)) {
    if (op_case.name.starts_with("Attention") || op_case.name.starts_with("Multivariate"))
      continue;  // these run to prepare
    Operands planned(*planner, GetParam().type, 1), real(*device, GetParam().type, 1);
    op_case.make(planned)();
    device->set_planning(true);
    op_case.make(real)();
    device->set_planning(false);
    EXPECT_EQ(planner->planned_scratch_bytes(), device->planned_scratch_bytes()) << op_case.name;
  }
}

INSTANTIATE_TEST_SUITE_P(SmallSizes, CudaOnTheHost, ::testing::ValuesIn(small_parameters()), text_of);

TEST(CudaOnTheHost, TellsOfATokenOutsideTheTable) {
  const auto backend = backends::make_cuda_backend({});
  Operands operands(*backend, DType::float32, 1);
  const EmbeddingForward op{.tokens = operands.values("tokens", std::vector<std::int32_t>{0, -3}),
                            .table = operands.normal("table", DType::float32, {3, 8}),
                            .y = operands.output("y", DType::float32, {2, 8})};
  backend->pointwise().run(op);
  expect_error<InternalError>([&] { backend->synchronize(); }, {"token -3", "embedding table"});
  backend->synchronize();
}

TEST(CudaOnTheHost, TellsOfACovarianceThatIsNotPositiveDefinite) {
  const auto backend = backends::make_cuda_backend({});
  Operands operands(*backend, DType::float32, 1);
  const MultivariateKl op{.z = operands.normal("z", DType::float32, {3, 40}),  // three rows span three dimensions
                          .row_group = operands.values("row_group", std::vector<std::int32_t>{0, 0, 0}),
                          .count = operands.values("count", std::vector<float>{3.0F}),
                          .mean = operands.normal("mean", DType::float32, {1, 40}, 0.0),
                          .loss = operands.updated("loss", DType::float32, {1}),
                          .shrinkage = 0.0F};
  expect_error<SystemError>([&] { plan_and_run(*backend, [&] { backend->reduce().run(op); }); },
                            {"not positive definite", "shrinkage"});
}

TEST(CudaOnTheHost, ACopyIntoStagingIsThereBehindItsEvent) {
  const auto backend = backends::make_cuda_backend({});
  Operands operands(*backend, DType::float32, 1);
  const auto view = operands.values("values", std::vector<float>{1.0F, 2.0F, 3.0F});
  const auto allocations = backend->op_context().allocations;
  const auto staging = backend->allocate_staging(3 * sizeof(float));
  backend->record_event(0);
  backend->copy_to_staging(staging.data(), view);
  backend->record_event(5);
  backend->wait_for_event(5);
  const auto* host = static_cast<const float*>(staging.data());
  EXPECT_EQ(std::vector<float>(host, host + 3), (std::vector<float>{1.0F, 2.0F, 3.0F}));
  EXPECT_GE(backend->elapsed_ms(0, 5), 0.0);
  EXPECT_EQ(backend->op_context().allocations, allocations);  // host memory is not the device's
}

// More than all of the page-locked memory that small copies pass through, both ways, before the device is waited for.
TEST(CudaOnTheHost, CopiesBeyondThePageLockedMemoryArrive) {
  const auto backend = backends::make_cuda_backend({});
  constexpr std::int64_t kCopies = 60, kFloats = 300'000;
  Operands operands(*backend, DType::float32, 1);
  const auto on_device = operands.output("values", DType::float32, {kFloats});
  std::vector<std::vector<float>> back(kCopies, std::vector<float>(kFloats));
  for (std::int64_t i = 0; i < kCopies; ++i) {
    const std::vector<float> values(kFloats, static_cast<float>(i));
    backend->copy_to_device(on_device, values.data());
    backend->copy_to_host(back[static_cast<std::size_t>(i)].data(), on_device);
  }
  backend->synchronize();
  for (std::int64_t i = 0; i < kCopies; ++i)
    EXPECT_EQ(back[static_cast<std::size_t>(i)], std::vector<float>(kFloats, static_cast<float>(i))) << i;
}

TEST(CudaOnTheHost, WaitingForAnEventTellsOfAFault) {
  const auto backend = backends::make_cuda_backend({});
  Operands operands(*backend, DType::float32, 1);
  const EmbeddingForward op{.tokens = operands.values("tokens", std::vector<std::int32_t>{7}),
                            .table = operands.normal("table", DType::float32, {3, 8}),
                            .y = operands.output("y", DType::float32, {1, 8})};
  backend->pointwise().run(op);
  backend->record_event(0);
  expect_error<InternalError>([&] { backend->wait_for_event(0); }, {"token 7", "embedding table"});
}

// A memory plan asks for scratch, so a run is refused before it begins.
TEST(CudaOnTheHost, RefusesRowsThatNoBlockHolds) {
  const auto backend = backends::make_cuda_backend({});
  const auto norm_over = [&](std::int64_t width) {
    Operands operands(*backend, DType::float32, 1);
    backend->norm().run(NormForward{.x = operands.normal("x", DType::float32, {1, width}),
                                    .gain = operands.normal("gain", DType::float32, {width}),
                                    .bias = operands.normal("bias", DType::float32, {width}),
                                    .y = operands.output("y", DType::float32, {1, width}),
                                    .mean = operands.output("mean", DType::float32, {1}),
                                    .inv_std = operands.output("inv_std", DType::float32, {1})});
  };
  EXPECT_NO_THROW(norm_over(5120));
  EXPECT_NO_THROW(norm_over(639));
  expect_error<UserError>([&] { norm_over(5128); }, {"5128", "5120", "640", "model.width", "--backend cpu"});
  expect_error<UserError>([&] { norm_over(641); }, {"641"});
}

TEST(CudaOnTheHost, RefusesADeviceThatIsNotThere) {
  expect_error<UserError>([] { backends::make_cuda_backend({.device = 3}); }, {"GPU 3", "sees 1"});
}

}  // namespace
}  // namespace lsd::testing
