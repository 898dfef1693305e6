// SPDX-License-Identifier: Apache-2.0
#pragma once
// Times one training step, or one embedding pass, of a model of the method's sizes on packed random sequences.

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

#include "lsd/core/config_field.h"
#include "lsd/tasks/runtime.h"
#include "lsd/train/train_config.h"

namespace lsd::tasks {

struct StepBenchConfig {
  std::string work = "nm";
  std::string model = "nano";
  std::string lengths;
  std::int64_t tokens = 65536;
  std::string activation = "float32", residual = "float32", recompute = "none";
  std::int64_t steps = 20, warmup = 3;
  bool json = false;
  bool parts = false, ceiling = true;

  static void visit(auto& self, auto&& field) {
    field("work", self.work, {.help = "training step of a model, or embedding", .choices = "nm|tn|mlm|diffusion|dump"});
    field("model", self.model, {.help = "size", .choices = "nano|s|m|l"});
    field("lengths", self.lengths,
          {.help = "file with one sequence length a line, <cls> and <eos> included; empty: drawn like UniRef50's"});
    field("tokens", self.tokens,
          {.help = "tokens of the packed batch, when lengths are drawn", .unit = "tokens", .min = 64, .max = 16777216});
    field("activation", self.activation, {.help = "type of activations", .choices = "float32|bfloat16"});
    field("residual", self.residual, {.help = "type of the residual stream", .choices = "float32|bfloat16"});
    field("recompute", self.recompute, {.help = "what backward computes again", .choices = "none|pointwise|block"});
    field("steps", self.steps, {.help = "timed steps", .min = 1, .max = 1e6});
    field("warmup", self.warmup, {.help = "steps before them", .min = 0, .max = 1e6});
    field("parts", self.parts, {.help = "also time the step's parts, by kind of operation; --json always does"});
    field("ceiling", self.ceiling, {.help = "also time matrix products alone, and give the step's share of that rate"});
    field("json", self.json, {.help = "one JSON line instead of a sentence"});
  }
  void validate() const { train::check_residual_type(activation, residual); }
};

struct StepBenchResult {
  struct Ceiling {
    std::int64_t rows = 0, in = 0, out = 0;
    double tflops = 0.0;  // TFLOP/s; 0: too little memory to measure it
  };

  std::string text = {};  // what the config asked for: a JSON line or sentences
  std::int64_t tokens = 0;
  double step_ms = 0.0;
  double product_tflop = 0.0, attention_tflop = 0.0;  // 1e12 operations of one step; docs/performance.md says which
  Ceiling own_product, square;                        // products alone: the model's largest, and a large square one
  std::map<std::string, double> parts_ms = {};        // they add up to the time of one step
  std::int64_t allocations = 0;                       // of device memory within the timed steps: none, as planned
  std::int64_t planned_bytes = 0, peak_resident_bytes = 0, device_bytes = 0;

  double tokens_per_second() const { return static_cast<double>(tokens) / (step_ms * 1e-3); }
  double tflops() const { return (product_tflop + attention_tflop) / (step_ms * 1e-3); }
  double share_of_ceiling() const {
    const double ceiling = std::max(own_product.tflops, square.tflops);
    return ceiling > 0.0 ? tflops() / ceiling : 0.0;
  }
};

StepBenchResult step_bench(const StepBenchConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
