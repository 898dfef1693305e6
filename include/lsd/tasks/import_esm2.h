// SPDX-License-Identifier: Apache-2.0
#pragma once
// Takes a Hugging Face checkpoint of ESM-2 (EsmForMaskedLM) over as a checkpoint of our MLM autoencoder, so that it can
// be dumped, probed and trained on like our own models. docs/esm2.md says what is taken, checked and refused.

#include <string>

#include "lsd/core/config_field.h"
#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

struct ImportEsm2Config {
  struct Source {
    std::string directory;
    static void visit(auto& self, auto&& field) {
      field("directory", self.directory,
            {.help = "folder of the downloaded model: config.json and model.safetensors, or its shards and their index",
             .required = true});
    }
  };
  struct Output {
    std::string directory;
    static void visit(auto& self, auto&& field) {
      field("directory", self.directory,
            {.help = "folder to make, used like an autoencoder's run directory: features.autoencoder of lsd_probe and "
                     "lsd_dump_latents, run.init_from of lsd_train_autoencoder",
             .required = true});
    }
  };

  Source source;
  Output output;

  static void visit(auto& self, auto&& field) {
    field.section("source", self.source);
    field.section("output", self.output);
  }
};

// Rank 0 works, the others wait. The checkpoint's bytes are a pure function of the source's files. The same command
// again finds its work done.
Outcome import_esm2(const ImportEsm2Config& config, Runtime& runtime);

}  // namespace lsd::tasks
