#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains the MLM baseline, size M, on the shards of the run.
#SBATCH --job-name=train_mlm_m --output=%x.%j.log --open-mode=append --requeue --signal=B:USR1@300
#SBATCH --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --time=24:00:00
set -e # a job that does not find its parts has failed
source "${LSD_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}}/slurm/lib/stage.sh"
train_autoencoder_stage "${LSD_VARIANT:-mlm_m}" "$@"
