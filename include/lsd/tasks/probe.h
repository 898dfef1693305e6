// SPDX-License-Identifier: Apache-2.0
#pragma once
// Probes of frozen features: for each combination of representation, t, head and seed, trains a small head on a task's
// training rows, keeps its best validation epoch, looks at the test rows once, and writes one result file
// (docs/formats/probe_results.md). Majority (or mean) and amino-acid-composition baselines are written beside. Results
// that are there already are skipped. Means of a task's sequences are kept in the run directory, so that sweeps over
// heads and seeds embed once; or they are read from dumps made elsewhere.

#include <cstdint>
#include <string>
#include <vector>

#include "lsd/core/config_field.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

struct ProbeTaskConfig {
  std::string file;
  std::string name;
  std::string kind = "classes";
  std::int64_t classes = 0;
  bool allow_shared_sequences = false;

  static void visit(auto& self, auto&& field) {
    field("file", self.file,
          {.help = "task table (docs/formats/tasks.md): CSV, plain, gzip or zstd, columns id,sequence,label,split (or "
                   "sequence_a,sequence_b)",
           .required = true});
    field("name", self.name, {.help = "name in results; empty: the file's name"});
    field("kind", self.kind,
          {.help = "regression is scored by Spearman, the others by accuracy", .choices = "regression|binary|classes"});
    field("classes", self.classes,
          {.help = "number of classes; 0: the largest label plus one, and then every class must occur",
           .min = 0,
           .max = 10000});
    field("allow_shared_sequences", self.allow_shared_sequences,
          {.help = "count a sequence that stands in two splits instead of refusing the table"});
  }
};

struct ProbeHeadConfig {
  std::int64_t hidden = 256;
  std::int64_t epochs = 50;
  std::int64_t patience = 10;
  std::int64_t batch = 64;
  double learning_rate = 1e-3;
  double weight_decay = 0.01;
  std::int64_t resamples = 1000;

  static void visit(auto& self, auto&& field) {
    field("hidden", self.hidden, {.help = "width of the hidden layer of mlp", .min = 1, .max = 65536});
    field("epochs", self.epochs, {.help = "epochs at most", .min = 1, .max = 100000});
    field("patience", self.patience,
          {.help = "epochs without a better validation score before stopping", .min = 1, .max = 100000});
    field("batch", self.batch, {.help = "rows of a mini-batch", .min = 1, .max = 1e6});
    field("learning_rate", self.learning_rate, {.help = "of AdamW, constant", .min = 0, .max = 1});
    field("weight_decay", self.weight_decay, {.help = "decoupled, on weights", .min = 0, .max = 10});
    field("resamples", self.resamples,
          {.help = "bootstrap resamples of the test rows for the 95 % interval", .min = 10, .max = 1e6});
  }
};

// Every combination is one result.
struct ProbeSweepConfig {
  std::vector<std::string> representations = {};
  std::vector<double> times = {};
  std::vector<std::string> heads = {"linear", "mlp"};
  std::vector<double> seeds = {1, 2, 3};
  bool baselines = true;

  static void visit(auto& self, auto&& field) {
    field("representations", self.representations,
          {.help = "representations to probe; empty: features.representation"});
    field("times", self.times,
          {.help = "t of each diffusion representation (score: t > 0 only); empty: features.time", .min = 0, .max = 1});
    field("heads", self.heads, {.help = "linear and mlp (dense, tanh, dense)", .required = true});
    field("seeds", self.seeds,
          {.help = "seeds of heads and mini-batches", .min = 0, .max = 4294967295.0, .required = true});
    field("baselines", self.baselines, {.help = "also the majority class (or mean) and amino-acid composition"});
  }
  void validate() const;  // throws UserError
};

struct ProbeRunConfig {
  std::string directory;
  std::string model;

  static void visit(auto& self, auto&& field) {
    field("directory", self.directory,
          {.help = "folder of the results; the same command again goes on", .required = true});
    field("model", self.model,
          {.help = "name of the model in results; empty: the name of features.autoencoder, or of the first dump"});
  }
};

// Features come from models, or from dumps that were made with them elsewhere.
struct ProbeFeatureConfig : FeatureConfig {
  std::vector<std::string> dump = {};

  static void visit(auto& self, auto&& field) {
    field("dump", self.dump,
          {.help = "instead of models: folders of dumps (means, or residues, which are averaged) that hold the task's "
                   "sequences; each representation and t among them is probed"});
    FeatureConfig::visit(self, field);
  }
  void validate() const;  // throws UserError
};

struct ProbeConfig {
  ProbeRunConfig run;
  ProbeTaskConfig task;
  ProbeFeatureConfig features;
  ProbeSweepConfig sweep;
  ProbeHeadConfig head;

  static void visit(auto& self, auto&& field) {
    field.section("run", self.run);
    field.section("task", self.task);
    field.section("features", self.features);
    field.section("sweep", self.sweep);
    field.section("head", self.head);
  }
  void validate() const;  // throws UserError
};

Outcome probe(const ProbeConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
