// SPDX-License-Identifier: Apache-2.0
// Every op on the GPU against the reference, in float32 and bfloat16. Needs neither MPI nor oneDNN, so the program can
// be carried to a machine that has little more than a driver.
#include "backends/agreement.h"
#include "lsd/core/error.h"

namespace lsd::testing {
namespace {

// Skips, with the reason, where there is no GPU.
class OnTheGpu : public ::testing::TestWithParam<Parameter> {
 protected:
  void SetUp() override {
    std::string why_not;
    if (!backends::cuda_device_present(why_not)) GTEST_SKIP() << why_not;
  }
};

std::unique_ptr<Backend> deterministic() {
  return backends::make_cuda_backend({.deterministic = true});
}
std::unique_ptr<Backend> fast() {
  return backends::make_cuda_backend({});
}

class BackendsAgree : public OnTheGpu {};

TEST_P(BackendsAgree, GpuOnEveryOp) {
  expect_agreement(GetParam(), {{"cuda, deterministic", deterministic, true}, {"cuda", fast, true}});
}

TEST_P(BackendsAgree, GpuGivesTheSameBitsAgain) {
  const auto& [sizes, type] = GetParam();
  const auto first = deterministic(), second = deterministic();
  for (const auto& op_case : op_cases(sizes)) {
    Operands one(*first, type, 5), other(*second, type, 5);
    plan_and_run(*first, op_case.make(one));
    plan_and_run(*second, op_case.make(other));
    const auto expected = one.results(), actual = other.results();
    for (const auto& [name, result] : expected)
      EXPECT_EQ(actual.at(name).bytes, result.bytes) << op_case.name << " " << name;
  }
}

INSTANTIATE_TEST_SUITE_P(AwkwardSizes, BackendsAgree, ::testing::ValuesIn(parameters()), text_of);

// Head width 64, the one of all models, and 128; every kernel there is, whichever the GPU would choose.
struct AttentionParameter {
  CaseSizes sizes;
  std::string kernel;
};

void PrintTo(const AttentionParameter& parameter, std::ostream* out) {
  *out << parameter.sizes.label << ", " << parameter.kernel;
}

std::vector<AttentionParameter> attention_parameters() {
  const std::vector<int> mixture{1, 2, 63, 64, 65, 128, 129, 300, 1024};
  const std::vector<CaseSizes> sizes{
      {.label = "mixture_64", .lengths = mixture, .dead_rows = 13, .width = 192, .heads = 3},
      {.label = "mixture_128", .lengths = mixture, .dead_rows = 13, .width = 256, .heads = 2},
      {.label = "one_long_64", .lengths = {4096}, .dead_rows = 0, .width = 64, .heads = 1},
      {.label = "hundreds_64", .lengths = std::vector<int>(700, 3), .dead_rows = 1, .width = 128, .heads = 2}};
  std::vector<AttentionParameter> out;
  for (const std::string kernel : {"mma", "wgmma", "wgmma_wide"})
    for (const auto& size : sizes) out.push_back({size, kernel});
  return out;
}

class AttentionKernels : public ::testing::TestWithParam<AttentionParameter> {
 protected:
  void SetUp() override {
    std::string why_not;
    if (!backends::cuda_device_present(why_not)) GTEST_SKIP() << why_not;
    try {
      (void)make();
    } catch (const UserError& error) {
      GTEST_SKIP() << error.what();
    }
  }
  static std::unique_ptr<Backend> make() { return backends::make_cuda_backend({.attention = GetParam().kernel}); }
};

TEST_P(AttentionKernels, AgreesWithTheReference) {
  expect_agreement({GetParam().sizes, DType::bfloat16}, {{GetParam().kernel, [] { return make(); }, true}},
                   "Attention");
}

// Blocks take tasks in another order every time; no bit may depend on it.
TEST_P(AttentionKernels, GivesTheSameBitsAgain) {
  const auto backend = make();
  for (const auto& op_case : op_cases(GetParam().sizes)) {
    if (!op_case.name.starts_with("Attention")) continue;
    Operands one(*backend, DType::bfloat16, 5), other(*backend, DType::bfloat16, 5);
    plan_and_run(*backend, op_case.make(one));
    plan_and_run(*backend, op_case.make(other));
    const auto expected = one.results(), actual = other.results();
    for (const auto& [operand, result] : expected)
      EXPECT_EQ(actual.at(operand).bytes, result.bytes) << op_case.name << " " << operand;
  }
}

INSTANTIATE_TEST_SUITE_P(HeadWidths, AttentionKernels, ::testing::ValuesIn(attention_parameters()),
                         [](const auto& each) { return each.param.sizes.label + "_by_" + each.param.kernel; });

using GpuBackend = OnTheGpu;

TEST_P(GpuBackend, TellsOfATokenOutsideTheTable) {
  const auto backend = fast();
  Operands operands(*backend, DType::float32, 1);
  const EmbeddingForward op{.tokens = operands.values("tokens", std::vector<std::int32_t>{0, 7}),
                            .table = operands.normal("table", DType::float32, {3, 8}),
                            .y = operands.output("y", DType::float32, {2, 8})};
  backend->pointwise().run(op);
  EXPECT_THROW(backend->synchronize(), InternalError);
  backend->synchronize();  // told once
}

TEST_P(GpuBackend, TellsHowMuchMemoryWasAskedFor) {
  const auto backend = fast();
  try {
    const auto memory = backend->allocate(std::size_t{1} << 50U);
    FAIL() << "a pebibyte was allocated";
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("1073741824 MiB"), std::string::npos) << error.what();
  }
}

TEST_P(GpuBackend, CopiesOfEverySizeArrive) {
  const auto backend = fast();
  for (const std::int64_t count : {1, 1000, 1 << 20, 3 << 20}) {
    std::vector<float> from(static_cast<std::size_t>(count)), to(from.size(), -1.0F);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i % 1000);
    const auto memory = backend->allocate(2 * from.size() * sizeof(float));
    const TensorView all(memory.data(), DType::float32, {2, count}, Device::cuda);
    for (int round = 0; round < 20; ++round) {  // more than page-locked memory holds at once
      backend->copy_to_device(all.row_range(0, 1), from.data());
      backend->copy_on_device(all.row_range(1, 1), all.row_range(0, 1));
      backend->copy_to_host(to.data(), all.row_range(1, 1));
    }
    backend->synchronize();
    EXPECT_EQ(to, from);
  }
}

INSTANTIATE_TEST_SUITE_P(Once, GpuBackend, ::testing::Values(Parameter{{.label = "any"}, DType::float32}), text_of);

}  // namespace
}  // namespace lsd::testing
