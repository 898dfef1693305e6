// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/train_autoencoder.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::TrainAutoencoderConfig>(
      {.name = "lsd_train_autoencoder",
       .summary = "train an autoencoder of protein sequences: LSD-NM, LSD-TN or the MLM baseline",
       .example = "mpirun -n 2 lsd_train_autoencoder --config configs/demo/nm.cfg --run.directory=runs/nm "
                  "--data.shards=runs/shards"},
      argc, argv, lsd::tasks::train_autoencoder);
}
