// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trains a diffusion model on the frozen, standardised latents of an autoencoder.

#include <string>

#include "lsd/core/config_field.h"
#include "lsd/models/denoiser.h"
#include "lsd/tasks/runtime.h"
#include "lsd/tasks/train_autoencoder.h"
#include "lsd/train/train_config.h"

namespace lsd::tasks {

struct LatentsConfig {
  std::string source = "recompute";
  std::string autoencoder;
  std::string dump, valid_dump;
  std::string moments;
  std::int64_t moment_micro_batches = 64;

  static void visit(auto& self, auto&& field) {
    field("source", self.source,
          {.help = "recompute latents with the frozen encoder in every step, or read a stored dump",
           .choices = "recompute|stored"});
    field("autoencoder", self.autoencoder,
          {.help = "run directory or checkpoint of the autoencoder (recompute needs it); for run.memory_plan also its "
                   ".cfg file"});
    field("dump", self.dump,
          {.help = "stored: folder of per-residue latents of the training split, specials included"});
    field("valid_dump", self.valid_dump, {.help = "stored: the same for the validation split; empty: no validation"});
    field("moments", self.moments,
          {.help = "dump whose moments standardise the latents; empty: those of `dump`, or of moment_micro_batches"});
    field("moment_micro_batches", self.moment_micro_batches,
          {.help = "micro-batches of the training split, from its beginning, whose latents give the moments; above 16 "
                   "rounded up to a multiple of 16; 0: all",
           .min = 0,
           .max = 1e9});
  }
  void validate() const;  // throws UserError
};

struct SamplingConfig {
  std::string importance = "loss_rms";
  double uniform_share = 0.01, decay = 0.99;
  std::int64_t warmup_losses = 10;

  static void visit(auto& self, auto&& field) {
    field("importance", self.importance,
          {.help = "importance sampling of the time t by the running loss, or none (uniform)",
           .choices = "loss_rms|none"});
    field("uniform_share", self.uniform_share,
          {.help = "importance: share of the draws that is uniform whatever the losses are",
           .min = 0.001,
           .max = 1,
           .value_before = "0.01"});
    field("decay", self.decay,
          {.help = "importance: what a time bin's mean square loss keeps at each new loss",
           .min = 0,
           .max = 0.999999,
           .value_before = "0.99"});
    field("warmup_losses", self.warmup_losses,
          {.help = "importance: uniform draws until each of the 100 time bins has met so many losses",
           .min = 1,
           .max = 1e9,
           .value_before = "10"});
  }
};

struct EmaConfig {
  double decay = 0.9999;

  static void visit(auto& self, auto&& field) {
    field("decay", self.decay,
          {.help = "moving average of the weights, which validation, dumps and probes use: decay at most, less in the "
                   "first steps, min(decay, (1 + n) / (10 + n)); 0: no average, the trained weights are used",
           .min = 0,
           .max = 0.9999999,
           .value_before = "0.9999"});
  }
};

struct TrainDiffusionConfig {
  train::RunConfig run;
  models::DenoiserConfig model;
  LatentsConfig latents;
  SamplingConfig sampling;
  EmaConfig ema;
  TrainDataConfig data;
  train::OptimizerConfig optimizer;
  train::TrainingConfig training;
  train::ValidationConfig validation;
  train::CheckpointConfig checkpoint;
  train::GuardConfig guard;
  train::ComputeConfig compute;

  static void visit(auto& self, auto&& field) {
    field.section("run", self.run);
    field.section("model", self.model);
    field.section("latents", self.latents);
    field.section("sampling", self.sampling);
    field.section("ema", self.ema);
    field.section("data", self.data);
    field.section("optimizer", self.optimizer);
    field.section("training", self.training);
    field.section("validation", self.validation);
    field.section("checkpoint", self.checkpoint);
    field.section("guard", self.guard);
    field.section("compute", self.compute);
  }
};

Outcome train_diffusion(const TrainDiffusionConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
