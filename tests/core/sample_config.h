// SPDX-License-Identifier: Apache-2.0
#pragma once
// A config with every field type, nested sections and a rule, for the tests of the config machinery.

#include <cstdint>
#include <string>
#include <vector>

#include "lsd/core/config_field.h"
#include "lsd/core/error.h"

namespace lsd {

struct SampleSchedule {
  std::int64_t warmup = 10;
  static void visit(auto& self, auto&& field) {
    field("warmup", self.warmup, {.help = "steps of linear warm-up", .unit = "steps", .min = 0});
  }
};

struct SampleOptimizer {
  double learning_rate = 4e-4;
  std::string name = "adamw";
  SampleSchedule schedule;
  static void visit(auto& self, auto&& field) {
    field("learning_rate", self.learning_rate, {.help = "peak learning rate", .min = 0, .max = 1});
    field("name", self.name, {.help = "which optimizer", .choices = "adamw|lion"});
    field.section("schedule", self.schedule);
  }
};

struct SampleData {
  std::vector<std::string> files;
  std::vector<double> weights;
  bool shuffle = true;
  std::int64_t limit = 100;
  static void visit(auto& self, auto&& field) {
    field("files", self.files, {.help = "FASTA files, in an order that decides record numbers", .required = true});
    field("weights", self.weights,
          {.help = "one weight per file; a sentence that is long enough to be wrapped, so that the wrapping of help "
                   "texts is tested by this very field, and then some more words",
           .min = 0});
    field("shuffle", self.shuffle, {.help = "whether records change places"});
    field("limit", self.limit, {.help = "most weights", .max = 1000});
  }
  void validate() const {
    if (static_cast<std::int64_t>(weights.size()) > limit) throw UserError("more weights than the limit");
  }
};

struct SampleConfig {
  std::int64_t seed = 1;
  SampleOptimizer optimizer;
  SampleData data;
  static void visit(auto& self, auto&& field) {
    field.section("optimizer", self.optimizer);
    field("seed", self.seed, {.help = "seed of every random draw", .min = 0});
    field.section("data", self.data);
  }
};

}  // namespace lsd
