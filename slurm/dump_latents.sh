#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Latents, or only their moments, of the frozen autoencoder LSD_VARIANT; --array=0-N shares the dump out, and submitted
# again without --array it makes what such an array has left.
#SBATCH --job-name=dump_latents --output=%x.%j.log --open-mode=append --requeue --signal=B:USR1@300
#SBATCH --nodes=1 --ntasks-per-node=8 --gpus-per-node=8 --time=12:00:00
set -e # a job that does not find its parts has failed
source "${LSD_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}}/slurm/lib/stage.sh"
dump_latents_stage "$@"
