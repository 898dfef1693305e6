// SPDX-License-Identifier: Apache-2.0
#pragma once
// Stage 1: FASTA files to a folder of shards with manifest.json. The result depends on input and options only: any
// number of ranks writes the same bytes. All kept residues are held in memory, each by the rank that read it.

#include <cstdint>
#include <string>
#include <vector>

#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

struct ShardConfig {
  struct Input {
    std::vector<std::string> files;
    static void visit(auto& self, auto&& field) {
      field("files", self.files,
            {.help = "FASTA files: plain, gzip or zstd, told apart by their content; '-' is standard input",
             .required = true});
    }
  };
  struct Output {
    std::string directory;
    static void visit(auto& self, auto&& field) {
      field("directory", self.directory,
            {.help = "new or empty folder for shards and manifest.json", .required = true});
    }
  };
  struct Length {
    std::int64_t min = 30;
    std::int64_t max = 0;
    static void visit(auto& self, auto&& field) {
      field("min", self.min, {.help = "shorter records are dropped", .unit = "residues", .min = 1});
      field("max", self.max, {.help = "longer records are dropped; 0: no limit", .unit = "residues", .min = 0});
    }
    void validate() const;
  };
  struct Residues {
    std::string gaps = "reject";
    std::string inner_stops = "reject";
    std::string other = "reject";
    double max_unknown = 1.0;
    static void visit(auto& self, auto&& field) {
      field("gaps", self.gaps,
            {.help = "'-' and '.' in a sequence: stop with an error, drop the record, or remove them",
             .choices = "reject|drop_record|remove"});
      field("inner_stops", self.inner_stops,
            {.help = "'*' before a residue (at the end it is always dropped)", .choices = "reject|drop_record|remove"});
      field("other", self.other,
            {.help = "digits, NUL, punctuation, bytes beyond ASCII in a sequence", .choices = "reject|drop_record"});
      field("max_unknown", self.max_unknown,
            {.help = "records with a larger share of X are dropped", .unit = "fraction", .min = 0, .max = 1});
    }
  };
  struct Records {
    std::string empty = "drop_record";
    std::string duplicate_ids = "reject";
    bool dedupe = false;
    static void visit(auto& self, auto&& field) {
      field("empty", self.empty, {.help = "records without a residue", .choices = "reject|drop_record"});
      field("duplicate_ids", self.duplicate_ids,
            {.help = "records with the id of an earlier one: stop with an error, drop the later ones, or keep all",
             .choices = "reject|drop_record|keep"});
      field("dedupe", self.dedupe, {.help = "drop records whose residues equal those of an earlier record"});
    }
  };
  struct Split {
    double valid = 0.005;
    double test = 0.005;
    std::int64_t seed = 1;
    static void visit(auto& self, auto&& field) {
      field("valid", self.valid,
            {.help = "share of ids in the validation split", .unit = "fraction", .min = 0, .max = 1});
      field("test", self.test, {.help = "share of ids in the test split", .unit = "fraction", .min = 0, .max = 1});
      field("seed", self.seed, {.help = "of shuffle and split", .min = 0, .max = 4294967295.0});
    }
    void validate() const;
  };
  struct Shards {
    std::int64_t records = 1000000;
    static void visit(auto& self, auto&& field) {
      field("records", self.records,
            {.help = "mean number of records in a shard; a split gets as many shards as that takes",
             .unit = "records",
             .min = 1});
    }
  };
  struct Memory {
    double limit = 0;
    static void visit(auto& self, auto&& field) {
      field(
          "limit", self.limit,
          {.help =
               "memory one rank may use; 0: its part of 80 % of what is free now, by what it reads. The program stops "
               "with an error rather than exceed it",
           .unit = "GiB",
           .min = 0});
    }
  };

  Input input;
  Output output;
  Length length;
  Residues residues;
  Records records;
  Split split;
  Shards shards;
  Memory memory;

  static void visit(auto& self, auto&& field) {
    field.section("input", self.input);
    field.section("output", self.output);
    field.section("length", self.length);
    field.section("residues", self.residues);
    field.section("records", self.records);
    field.section("split", self.split);
    field.section("shards", self.shards);
    field.section("memory", self.memory);
  }
};

Outcome shard(const ShardConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
