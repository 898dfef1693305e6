// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/step_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "arithmetic_internal.h"
#include "bench_work_internal.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"
#include "op_parts_internal.h"

namespace lsd::tasks {
namespace {

constexpr std::int64_t kDeviceSquare = 8192, kHostSquare = 1024;
constexpr std::int64_t kAhead = 2;  // steps that the host may be ahead of the device, as in training

// Median time of a step in ms, steps following each other without a wait in between.
double median_ms(const StepBenchConfig& config, Backend& backend, const std::function<void()>& step) {
  for (std::int64_t i = 0; i < config.warmup; ++i) step();
  for (std::int64_t i = 0; i < config.steps; ++i) {
    backend.record_event(static_cast<int>(i));
    if (i >= kAhead) backend.wait_for_event(static_cast<int>(i - kAhead));
    step();
  }
  backend.record_event(static_cast<int>(config.steps));
  backend.wait_for_event(static_cast<int>(config.steps));
  std::vector<double> times;
  for (int i = 0; i < static_cast<int>(config.steps); ++i) times.push_back(backend.elapsed_ms(i, i + 1));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// Not getrusage's: that one survives exec, so it may be the peak of the program that started this one.
std::int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

double rounded(double value, double unit) {
  return std::round(value / unit) * unit;
}

nlohmann::ordered_json json_of(const StepBenchResult::Ceiling& ceiling) {
  return {{"rows", ceiling.rows}, {"in", ceiling.in}, {"out", ceiling.out}, {"tflops", ceiling.tflops}};
}

std::string json_line(const StepBenchConfig& config, const std::string& device, const StepBenchResult& r) {
  nlohmann::ordered_json line = {{"program", "lsd_bench"},
                                 {"work", config.work},
                                 {"model", config.model},
                                 {"backend", device},
                                 {"activation", config.activation},
                                 {"tokens", r.tokens},
                                 {"step_ms", rounded(r.step_ms, 1e-3)},
                                 {"tokens_per_s", std::round(r.tokens_per_second())},
                                 {"product_tflop", r.product_tflop},
                                 {"attention_tflop", r.attention_tflop},
                                 {"tflops", r.tflops()}};
  if (config.ceiling) {
    line["ceiling_own_product"] = json_of(r.own_product);
    line["ceiling_square"] = json_of(r.square);
    line["share_of_ceiling"] = rounded(r.share_of_ceiling(), 1e-4);
  }
  line["allocations_in_steps"] = r.allocations;
  line["planned_bytes"] = r.planned_bytes;
  line["peak_resident_bytes"] = r.peak_resident_bytes;
  line["device_bytes"] = r.device_bytes;
  for (const auto& [part, milliseconds] : r.parts_ms) line["parts_ms"][part] = rounded(milliseconds, 1e-3);
  return json_text(line) + "\n";
}

std::string sentence(const StepBenchConfig& config, const std::string& device, const StepBenchResult& r) {
  auto out = fmt::format(
      "{} {} {} on {}: {} tokens in {:.2f} ms (median), {:.0f} tokens/s, {:.3g} TFLOP/s, {} planned, {} resident at "
      "most\n",
      config.work, config.model, config.activation, device, r.tokens, r.step_ms, r.tokens_per_second(), r.tflops(),
      human_bytes(static_cast<double>(r.planned_bytes)), human_bytes(static_cast<double>(r.peak_resident_bytes)));
  if (r.device_bytes > 0)
    out += fmt::format("  {} of the device's memory in use, by all its users\n",
                       human_bytes(static_cast<double>(r.device_bytes)));
  if (config.ceiling)
    out += fmt::format(
        "  products at best: {:.3g} TFLOP/s at this model's largest ({} x {} x {}), {:.3g} at {}^3; the step reaches "
        "{:.1f} % of the higher\n",
        r.own_product.tflops, r.own_product.rows, r.own_product.in, r.own_product.out, r.square.tflops, r.square.rows,
        100.0 * r.share_of_ceiling());
  return config.parts ? out + sentence_of(r.parts_ms) : out;
}

StepBenchResult::Ceiling measured(Backend& backend, DType type, std::int64_t rows, std::int64_t in, std::int64_t out) {
  const auto rate = product_rate(backend, type, rows, in, out);
  return {.rows = rate.rows, .in = rate.in, .out = rate.out, .tflops = rate.per_second * 1e-12};
}

}  // namespace

StepBenchResult step_bench(const StepBenchConfig& config, Runtime& runtime) {
  auto& backend = *runtime.backend;
  const auto lengths = bench_lengths(config);
  StepBenchResult result;
  for (const auto length : lengths) result.tokens += length;
  const train::BatchShape shape{.capacity = result.tokens,
                                .max_sequences = static_cast<std::int64_t>(lengths.size()),
                                .max_length = *std::max_element(lengths.begin(), lengths.end())};
  const bool diffusion = config.work == "diffusion";
  const auto build = bench_model(config, shape.capacity);
  const train::PlanRequest request{.shape = shape,
                                   .activation = dtype_from_name(config.activation),
                                   .residual = dtype_from_name(config.residual),
                                   .recompute = train::recompute_from_name(config.recompute),
                                   .ema = diffusion};
  const auto plan = train::plan_memory(backend, build, request);
  backend.reserve_scratch(plan.scratch_bytes);
  const auto model = build(backend);
  train::OptimizerState optimizer(backend, model->parameters(), {.ema = diffusion});
  optimizer.initialise(model->parameters().initial_values(1));
  train::ImportanceSampler sampler(train::ImportanceSampler::Kind::loss_rms);
  train::Trainer trainer(
      {runtime.ranks, *runtime.collectives, backend}, *model, optimizer, shape,
      {.activation = request.activation, .residual = request.residual, .recompute = request.recompute},
      plan.activation_bytes, diffusion ? &sampler : nullptr);
  auto batches = bench_batches(lengths, shape, config.work == "mlm");
  auto sums = trainer.new_sums();
  const auto step = [&] {
    if (config.work == "dump")
      trainer.evaluate(batches.micro_batches.front(), 1, std::nullopt, sums);
    else
      trainer.step(batches);
  };
  const auto arithmetic = count_arithmetic(backend, lengths, step);
  result.product_tflop = arithmetic.products * 1e-12;
  result.attention_tflop = arithmetic.attention * 1e-12;
  const auto before = backend.op_context().allocations;
  result.step_ms = median_ms(config, backend, step);
  result.allocations = backend.op_context().allocations - before;
  if (config.parts || config.json) result.parts_ms = time_parts(backend, step);
  result.planned_bytes = plan.total_bytes();
  result.peak_resident_bytes = peak_resident_bytes();
  result.device_bytes = static_cast<std::int64_t>(backend.device_bytes_in_use());
  if (config.ceiling) {
    const auto& own = arithmetic.largest;
    const auto side = backend.device() == Device::host ? kHostSquare : kDeviceSquare;
    result.own_product = measured(backend, request.activation, own.rows, own.in, own.out);
    result.square = measured(backend, request.activation, side, side, side);
  }
  const auto device = backend.description();
  result.text = config.json ? json_line(config, device, result) : sentence(config, device, result);
  return result;
}

}  // namespace lsd::tasks
