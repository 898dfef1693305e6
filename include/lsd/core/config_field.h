// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a configuration struct describes itself, once. A struct lists its fields in one static function:
//
//   struct OptimizerConfig {
//     double learning_rate = 4e-4;
//     static void visit(auto& self, auto&& field) {
//       field("learning_rate", self.learning_rate, {.help = "peak learning rate", .min = 0, .max = 1});
//     }
//   };
//   struct TrainConfig {
//     OptimizerConfig optimizer;
//     static void visit(auto& self, auto&& field) { field.section("optimizer", self.optimizer); }
//   };
//
// Members are bool, std::int64_t, double, std::string, std::vector<std::string> or std::vector<double>. The same
// function serves help, parsing, validation, --print-config and the hash in outputs, so they cannot drift apart.
// A rule that ties several fields together goes into an optional member `void validate() const` (throws UserError).

#include <limits>
#include <string_view>

namespace lsd {

struct FieldInfo {
  std::string_view help;
  std::string_view unit = {};  // "tokens", "residues", "minutes", ...
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::string_view choices = {};  // "nm|tn|mlm": the strings allowed
  bool required = false;          // an empty string or list is refused
  // Of a key that a later version has added: the value, as printed, that runs had without it. With that value it stands
  // in no fingerprint and no checkpoint, so that those runs go on.
  std::string_view value_before = {};
};

}  // namespace lsd
