// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/shard.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::ShardConfig>(
      {.name = "lsd_shard_uniref50",
       .summary = "turn FASTA files into shuffled, tokenised HDF5 shards, split into train, valid and test",
       .example = "mpirun -n 2 lsd_shard_uniref50 --input.files=data_prep/sample/proteins.fasta.gz "
                  "--output.directory=runs/shards --split.valid=0.05 --split.test=0.05",
       .needs_backend = false},
      argc, argv, lsd::tasks::shard);
}
