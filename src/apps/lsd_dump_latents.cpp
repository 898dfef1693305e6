// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/dump_latents.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::DumpLatentsConfig>(
      {.name = "lsd_dump_latents",
       .summary = "Stores latents of a frozen model: per residue, per protein, or their moments only",
       .example = "mpirun -n 2 lsd_dump_latents --features.autoencoder=runs/nm --input.shards=runs/shards "
                  "--output.directory=runs/latents"},
      argc, argv, lsd::tasks::dump_latents);
}
