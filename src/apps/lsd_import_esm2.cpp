// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/import_esm2.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::ImportEsm2Config>(
      {.name = "lsd_import_esm2",
       .summary = "Makes a checkpoint of the MLM autoencoder from a downloaded Hugging Face checkpoint of ESM-2",
       .example = "lsd_import_esm2 --source.directory=tests/golden/esm2_checkpoints/current "
                  "--output.directory=runs/esm2_tiny",
       .needs_backend = false,
       .uses_ranks = false},
      argc, argv, lsd::tasks::import_esm2);
}
