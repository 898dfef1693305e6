// SPDX-License-Identifier: Apache-2.0
// Every op of the CPU backend against the reference, in float32 and bfloat16.
#include "backends/agreement.h"
#include "backends/cpu/cpu_internal.h"

namespace lsd::testing {
namespace {

// Every instruction set that this machine has, and more threads than cores.
std::vector<BackendKind> cpu_kinds() {
  std::vector<BackendKind> out{
      {"cpu with 1 thread", [] { return backends::make_cpu_backend({.threads = 1}); }},
      {"cpu with 3 threads", [] { return backends::make_cpu_backend({.threads = 3}); }},
      {"cpu with SSE2", [] { return backends::cpu::make_backend_on(backends::cpu::sse2::kKernels, 1); }}};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    out.push_back({"cpu with AVX2", [] { return backends::cpu::make_backend_on(backends::cpu::avx2::kKernels, 1); }});
  return out;
}

class BackendsAgree : public ::testing::TestWithParam<Parameter> {};

TEST_P(BackendsAgree, CpuOnEveryOp) {
  expect_agreement(GetParam(), cpu_kinds());
}

INSTANTIATE_TEST_SUITE_P(AwkwardSizes, BackendsAgree, ::testing::ValuesIn(parameters()), text_of);

}  // namespace
}  // namespace lsd::testing
