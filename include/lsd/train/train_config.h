// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sections of a training configuration that every model shares.

#include <cstdint>
#include <string>
#include <vector>

#include "lsd/core/config_field.h"

namespace lsd::train {

struct OptimizerConfig {
  double learning_rate = 4e-4;
  std::int64_t warmup_steps = 2000;
  double final_fraction = 0.1;
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  double clip_norm = 1.0;

  static void visit(auto& self, auto&& field) {
    field("learning_rate", self.learning_rate, {.help = "peak learning rate", .min = 0, .max = 1});
    field("warmup_steps", self.warmup_steps,
          {.help = "steps of linear warm-up to the peak", .unit = "steps", .min = 0, .max = 1e9});
    field("final_fraction", self.final_fraction,
          {.help = "fraction of the peak that the cosine decay ends at", .min = 0, .max = 1});
    field("beta1", self.beta1, {.help = "decay of AdamW's first moment", .min = 0, .max = 0.99999});
    field("beta2", self.beta2, {.help = "decay of AdamW's second moment", .min = 0, .max = 0.9999999});
    field("epsilon", self.epsilon, {.help = "AdamW's epsilon", .min = 0, .max = 1});
    field("weight_decay", self.weight_decay,
          {.help = "decoupled weight decay, on the weights of products only", .min = 0, .max = 10});
    field("clip_norm", self.clip_norm,
          {.help = "limit of the global gradient norm; 0: no clipping", .min = 0, .max = 1e9});
  }
};

struct TrainingConfig {
  std::int64_t steps = 500000;
  std::int64_t capacity = 65536;
  std::int64_t micro_batches = 16;
  std::int64_t log_every = 20;

  static void visit(auto& self, auto&& field) {
    field("steps", self.steps, {.help = "optimizer steps of the whole run", .unit = "steps", .min = 1, .max = 1e12});
    field("capacity", self.capacity,
          {.help = "tokens that one packed micro-batch can hold", .unit = "tokens", .min = 64, .max = 16777216});
    field("micro_batches", self.micro_batches,
          {.help = "micro-batches of one global batch, over all ranks: the ranks share them evenly",
           .min = 1,
           .max = 1e6});
    field("log_every", self.log_every,
          {.help = "steps between two lines of metrics", .unit = "steps", .min = 1, .max = 1e9});
  }
};

struct ValidationConfig {
  std::int64_t every_steps = 1000;
  std::int64_t micro_batches = 8;
  std::vector<double> times = {0.0, 0.25, 0.5, 0.75};

  static void visit(auto& self, auto&& field) {
    field(
        "every_steps", self.every_steps,
        {.help = "steps between validations; the end of the run validates too; 0, or no sequences in the split: never",
         .unit = "steps",
         .min = 0,
         .max = 1e12});
    field("micro_batches", self.micro_batches,
          {.help = "micro-batches of the validation split to look at (at most one pass over it); above 16 rounded up "
                   "to equal groups of at most 16",
           .min = 1,
           .max = 1e6});
    field("times", self.times,
          {.help = "fixed noise times t that are measured besides the loss's own", .min = 0, .max = 1});
  }
};

// What is not learnt from, and when the run goes back for it (step_guard.h).
struct GuardConfig {
  std::int64_t window = 128;
  double loss_z = 8.0;
  double gradient_z = 8.0;
  std::int64_t rollback_after = 5;
  std::int64_t max_rollbacks = 3;

  static void visit(auto& self, auto&& field) {
    field(
        "window", self.window,
        {.help = "good steps that loss and gradient norm of the next one are compared with; none is a spike before so "
                 "many are done",
         .unit = "steps",
         .min = 8,
         .max = 1e5});
    field("loss_z", self.loss_z,
          {.help = "spreads above the window's mean at which a loss is a spike and its step is skipped; 0: never",
           .min = 0,
           .max = 1e6});
    field("gradient_z", self.gradient_z,
          {.help = "the same for the logarithm of the gradient norm; 0: never", .min = 0, .max = 1e6});
    field(
        "rollback_after", self.rollback_after,
        {.help = "skipped steps, among four times as many, after which the run goes back to the last checkpoint before "
                 "them and leaves their sequences out; 0: never. Ten in a row end the run when they are not finite; "
                 "otherwise they are taken as the new course",
         .unit = "steps",
         .min = 0,
         .max = 9});
    field("max_rollbacks", self.max_rollbacks,
          {.help = "times that a run may go back to a checkpoint", .min = 0, .max = 1000});
  }
};

struct CheckpointConfig {
  std::int64_t every_steps = 5000;
  double every_minutes = 30;
  std::int64_t keep_last = 2;
  std::int64_t milestone_steps = 0;
  bool in_background = true;

  static void visit(auto& self, auto&& field) {
    field(
        "every_steps", self.every_steps,
        {.help = "steps between checkpoints; 0: only by time and at the end", .unit = "steps", .min = 0, .max = 1e12});
    field("every_minutes", self.every_minutes,
          {.help = "minutes between checkpoints; 0: only by steps and at the end",
           .unit = "minutes",
           .min = 0,
           .max = 1e6});
    field("keep_last", self.keep_last, {.help = "checkpoints to keep, newest first", .min = 1, .max = 1000});
    field(
        "milestone_steps", self.milestone_steps,
        {.help = "checkpoints at multiples of it are kept for ever; 0: none", .unit = "steps", .min = 0, .max = 1e12});
    field(
        "in_background", self.in_background,
        {.help =
             "go on training while a checkpoint is written; takes host memory for one copy of weights and optimizer"});
  }
};

// Throws UserError where the residual stream had fewer bits than what is added to it.
void check_residual_type(const std::string& activation, const std::string& residual);

struct ComputeConfig {
  std::string activation = "float32";
  std::string residual = "float32";
  std::string recompute = "none";
  bool shard_optimizer = false;

  static void visit(auto& self, auto&& field) {
    field("activation", self.activation,
          {.help = "element type of activations and of the weights that products read", .choices = "float32|bfloat16"});
    field("residual", self.residual,
          {.help = "element type of the residual stream; bfloat16 needs activations of bfloat16",
           .choices = "float32|bfloat16"});
    field("recompute", self.recompute,
          {.help = "what backward computes again to save memory: nothing, norm and GELU outputs, or whole blocks",
           .choices = "none|pointwise|block"});
    field("shard_optimizer", self.shard_optimizer,
          {.help = "each rank keeps a part of the optimizer's state (ZeRO-1): less memory, the same results; any "
                   "checkpoint goes on with it or without"});
  }
  void validate() const { check_residual_type(activation, residual); }
};

struct RunConfig {
  std::string directory;
  std::int64_t seed = 1;
  std::string init_from;
  std::int64_t stop_after = 0;
  bool memory_plan = false;
  std::string memory_limit;
  std::int64_t memory_plan_ranks = 0;

  static void visit(auto& self, auto&& field) {
    field("directory", self.directory,
          {.help = "folder of the run; the same command again goes on from there", .required = true});
    field("seed", self.seed, {.help = "seed of every random draw", .min = 0, .max = 4294967295.0});
    field(
        "init_from", self.init_from,
        {.help = "run directory or checkpoint whose weights this run starts from (optimizer and counters start anew)"});
    field(
        "stop_after", self.stop_after,
        {.help = "stop, resumable, after this step (exit code 75); 0: never", .unit = "steps", .min = 0, .max = 1e12});
    field(
        "memory_plan", self.memory_plan,
        {.help = "print the memory that one step needs, part by part, the largest training.capacity that fits and what "
                 "the whole run takes, and end"});
    field("memory_limit", self.memory_limit,
          {.help = "memory that a rank may use on its device, as in 80GiB: a run that needs more is refused; empty: "
                   "what is free there"});
    field("memory_plan_ranks", self.memory_plan_ranks,
          {.help = "ranks that the plan of a sharded optimizer is made for; 0: those of this start",
           .min = 0,
           .max = 1e6});
  }
};

}  // namespace lsd::train
