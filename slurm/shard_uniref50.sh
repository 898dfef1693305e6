#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# FASTA (LSD_FASTA) to shards.
#SBATCH --job-name=shard_uniref50 --output=%x.%j.log --open-mode=append --requeue --signal=B:USR1@300
#SBATCH --nodes=1 --ntasks-per-node=16 --time=04:00:00
set -e # a job that does not find its parts has failed
source "${LSD_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}}/slurm/lib/stage.sh"
shard_stage "$@"
