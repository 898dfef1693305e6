// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/train_diffusion.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::TrainDiffusionConfig>(
      {.name = "lsd_train_diffusion",
       .summary = "train a diffusion model on the frozen latents of an autoencoder",
       .example =
           "mpirun -n 2 lsd_train_diffusion --config configs/demo/diffusion_nm.cfg --run.directory=runs/diffusion_nm "
           "--data.shards=runs/shards --latents.autoencoder=runs/nm"},
      argc, argv, lsd::tasks::train_diffusion);
}
