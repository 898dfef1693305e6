// SPDX-License-Identifier: Apache-2.0
#pragma once
// Times one training step, or one embedding pass, of a model of the method's sizes on packed random sequences.

#include <cstdint>
#include <string>

#include "lsd/core/config_field.h"
#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

struct StepBenchConfig {
  std::string work = "nm";
  std::string model = "nano";
  std::string lengths;
  std::int64_t tokens = 65536;
  std::string activation = "float32", residual = "float32", recompute = "none";
  std::int64_t steps = 20, warmup = 3;
  bool json = false;
  bool parts = false;

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
    field("parts", self.parts, {.help = "also time the step's parts, waiting for the device after every operation"});
    field("json", self.json, {.help = "one JSON line instead of a sentence"});
  }
};

struct StepBenchResult {
  std::string text;  // what the config asked for: a JSON line or a sentence
};

StepBenchResult step_bench(const StepBenchConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
