#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Probes of the variant LSD_VARIANT on the tasks LSD_PROBE_TASKS (config files); --array=0-N shares the sweep out.
#SBATCH --job-name=probe_sweep --output=%x.%A_%a.log --open-mode=append --requeue --signal=B:USR1@300
#SBATCH --array=0-3 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 --time=08:00:00
set -e # a job that does not find its parts has failed
source "${LSD_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}}/slurm/lib/stage.sh"
probe_sweep_stage "$@"
