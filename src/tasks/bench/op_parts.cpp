// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "op_parts_internal.h"

namespace lsd::tasks {
namespace {

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

// Events 0 and 1 stand around the step, 2 i + 2 and 2 i + 3 around its operation i. Of two steps the second counts: the
// first makes the events.
PartTimes time_parts(Backend& backend, const std::function<void()>& step) {
  std::vector<std::string> ops;
  auto& context = backend.op_context();
  context.begin_range = [&](std::string_view op) {
    ops.emplace_back(op);
    backend.record_event(static_cast<int>(2 * ops.size()));
  };
  context.end_range = [&](std::string_view) { backend.record_event(static_cast<int>(2 * ops.size() + 1)); };
  for (int round = 0; round < 2; ++round) {
    ops.clear();
    backend.synchronize();
    backend.record_event(0);
    step();
    backend.record_event(1);
  }
  context.begin_range = nullptr;
  context.end_range = nullptr;
  backend.wait_for_event(1);
  PartTimes parts;
  double rest = backend.elapsed_ms(0, 1);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const auto event = static_cast<int>(2 * i + 2);
    const double milliseconds = backend.elapsed_ms(event, event + 1);
    parts[part_of(ops[i])] += milliseconds;
    rest -= milliseconds;
  }
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
