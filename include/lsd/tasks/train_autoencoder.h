// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trains an autoencoder (LSD-NM, LSD-TN or the MLM baseline) on a shard set.

#include <string>

#include "lsd/core/config_field.h"
#include "lsd/models/autoencoder_config.h"
#include "lsd/tasks/runtime.h"
#include "lsd/train/train_config.h"

namespace lsd::tasks {

struct TrainDataConfig {
  std::string shards;
  std::int64_t max_length = 1024;

  static void visit(auto& self, auto&& field) {
    field("shards", self.shards, {.help = "folder that lsd_shard_uniref50 made", .required = true});
    field("max_length", self.max_length,
          {.help = "tokens of a sequence with <cls> and <eos>; longer ones are cropped at random",
           .unit = "tokens",
           .min = 8,
           .max = 1e6});
  }
};

// Only the MLM baseline masks its input.
struct MaskingConfig {
  double probability = 0.15;
  double mask_share = 0.8;
  double random_share = 0.1;
  bool token_dropout = false;

  static void visit(auto& self, auto&& field) {
    field("probability", self.probability,
          {.help = "mlm: part of the residues that are targets", .min = 0.001, .max = 1});
    field("mask_share", self.mask_share, {.help = "mlm: part of the targets that become <mask>", .min = 0, .max = 1});
    field("random_share", self.random_share,
          {.help = "mlm: part of the targets that become a random residue; the rest is kept", .min = 0, .max = 1});
    field("token_dropout", self.token_dropout, {.help = "mlm: ESM-2's scaling of embeddings by the masked share"});
  }
  void validate() const;  // throws UserError
};

struct TrainAutoencoderConfig {
  train::RunConfig run;
  models::AutoencoderConfig model;
  TrainDataConfig data;
  MaskingConfig masking;
  train::OptimizerConfig optimizer;
  train::TrainingConfig training;
  train::ValidationConfig validation;
  train::CheckpointConfig checkpoint;
  train::GuardConfig guard;
  train::ComputeConfig compute;

  static void visit(auto& self, auto&& field) {
    field.section("run", self.run);
    field.section("model", self.model);
    field.section("data", self.data);
    field.section("masking", self.masking);
    field.section("optimizer", self.optimizer);
    field.section("training", self.training);
    field.section("validation", self.validation);
    field.section("checkpoint", self.checkpoint);
    field.section("guard", self.guard);
    field.section("compute", self.compute);
  }
};

Outcome train_autoencoder(const TrainAutoencoderConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
