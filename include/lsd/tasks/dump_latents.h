// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs a frozen encoder (or a representation of a diffusion model) over sequences and stores per-residue latents,
// per-protein means, or moments only. The set is byte-identical for any number of ranks and jobs that fill it together;
// the same command again fills only the gaps. docs/formats/embeddings.md is the format.

#include <cstdint>
#include <string>

#include "lsd/core/config_field.h"
#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

// Which features of which model: shared with the probe.
struct FeatureConfig {
  std::string autoencoder;
  std::string diffusion;
  std::string representation = "encoder";
  double time = 0.0;
  std::string input = "clean";
  std::int64_t draws = 1;
  std::int64_t noise_seed = 1;
  std::string activation = "float32";
  std::int64_t capacity = 16384;
  std::int64_t max_sequences = 256;

  static void visit(auto& self, auto&& field) {
    field("autoencoder", self.autoencoder, {.help = "run directory or checkpoint of the autoencoder"});
    field("diffusion", self.diffusion,
          {.help = "run directory or checkpoint of the diffusion model (all representations but encoder)"});
    field("representation", self.representation,
          {.help = "encoder: z; diffusion: v + sin z; eps: the noise estimate; score: -eps / sin; denoised: the "
                   "estimate of z",
           .choices = "encoder|diffusion|eps|score|denoised"});
    field("time", self.time, {.help = "t of the diffusion representations", .min = 0, .max = 1});
    field("input", self.input,
          {.help = "what the denoiser sees: z, cos z, or noised latents averaged over draws",
           .choices = "clean|scaled|noised"});
    field("draws", self.draws, {.help = "noises averaged when input = noised", .min = 1, .max = 10000});
    field("noise_seed", self.noise_seed, {.help = "seed of those noises", .min = 0, .max = 4294967295.0});
    field("activation", self.activation,
          {.help = "element type that the models compute in", .choices = "float32|bfloat16"});
    field("capacity", self.capacity,
          {.help = "tokens of a packed batch; longer sequences get a batch of their own",
           .unit = "tokens",
           .min = 64,
           .max = 16777216});
    field("max_sequences", self.max_sequences, {.help = "sequences of a packed batch", .min = 1, .max = 1048576});
  }
  void validate() const;  // throws UserError
};

struct DumpInputConfig {
  std::string shards;
  std::string split = "train";
  std::string task;
  std::string fasta;

  static void visit(auto& self, auto&& field) {
    field("shards", self.shards, {.help = "folder of a shard set (one of shards, task and fasta)"});
    field("split", self.split, {.help = "split of the shard set", .choices = "train|valid|test"});
    field("task", self.task, {.help = "task table (docs/formats/tasks.md): its distinct sequences"});
    field("fasta", self.fasta, {.help = "FASTA file, plain, gzip or zstd"});
  }
  void validate() const;  // throws UserError
};

struct DumpOutputConfig {
  std::string directory;
  std::string mode = "residues";
  std::string element = "float16";
  std::int64_t tokens_per_part = 4194304;
  std::int64_t task_index = 0;
  std::int64_t task_count = 1;
  std::string check = "unfinished";

  static void visit(auto& self, auto&& field) {
    field("directory", self.directory,
          {.help = "folder of the dump; the same command again fills the gaps", .required = true});
    field("mode", self.mode,
          {.help = "per-residue latents, per-protein means, or moments only", .choices = "residues|means|moments"});
    field("element", self.element,
          {.help = "stored type of per-residue latents; means are float32", .choices = "float16|float32"});
    field("tokens_per_part", self.tokens_per_part,
          {.help = "tokens of one part file, the unit of work of a rank", .unit = "tokens", .min = 1024, .max = 1e12});
    field("task_index", self.task_index,
          {.help = "which of several jobs that fill one dump together this is, from 0 (SLURM_ARRAY_TASK_ID)",
           .min = 0,
           .max = 99999});
    field("task_count", self.task_count,
          {.help = "number of those jobs; each makes its share of the parts, the last one the manifest",
           .min = 1,
           .max = 100000});
    field("check", self.check,
          {.help = "read all of the parts that are there, and make damaged ones again: of unfinished dumps, always, or "
                   "never (then only heads and small tables are read)",
           .choices = "unfinished|always|never"});
  }
  void validate() const;  // throws UserError
};

struct DumpLatentsConfig {
  FeatureConfig features;
  DumpInputConfig input;
  DumpOutputConfig output;

  static void visit(auto& self, auto&& field) {
    field.section("features", self.features);
    field.section("input", self.input);
    field.section("output", self.output);
  }
};

Outcome dump_latents(const DumpLatentsConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
