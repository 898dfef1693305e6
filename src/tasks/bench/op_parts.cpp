// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <string_view>

#include "op_parts_internal.h"

namespace lsd::tasks {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

std::string part_of(std::string_view op) {
  if (op.starts_with("Linear") && op != "LinearCombination") return "products";
  if (op.starts_with("Attention")) return "attention";
  if (op.starts_with("Norm") || op.starts_with("AdaptiveNorm")) return "norms";
  if (op == "AdamW" || op == "SquaredNorm") return "optimizer";
  if (op == "CrossEntropy" || op == "SquaredError") return "losses";
  if (op.starts_with("Noise") || op == "UniformPerRow") return "noise";
  return "other operations";
}

}  // namespace

PartTimes time_parts(Backend& backend, const std::function<void()>& step) {
  PartTimes parts;
  Clock::time_point begin;
  auto& context = backend.op_context();
  context.begin_range = [&](std::string_view) {
    backend.synchronize();
    begin = Clock::now();
  };
  context.end_range = [&](std::string_view op) {
    backend.synchronize();
    parts[part_of(op)] += milliseconds_since(begin);
  };
  backend.synchronize();
  const auto step_begin = Clock::now();
  step();
  backend.synchronize();
  double rest = milliseconds_since(step_begin);
  context.begin_range = nullptr;
  context.end_range = nullptr;
  for (const auto& [part, milliseconds] : parts) rest -= milliseconds;
  parts["between operations"] = rest;
  return parts;
}

std::string sentence_of(const PartTimes& parts) {
  std::string out;
  for (const auto& [part, milliseconds] : parts)
    out += fmt::format("{}{} {:.2f} ms", out.empty() ? "  of which " : ", ", part, milliseconds);
  return out.empty() ? out : out + "\n";
}

}  // namespace lsd::tasks
