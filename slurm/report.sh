#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All results of the run in one table, Markdown and JSON.
#SBATCH --job-name=report --output=%x.%j.log --open-mode=append --requeue --signal=B:USR1@300
#SBATCH --nodes=1 --ntasks-per-node=1 --time=00:30:00
set -e # a job that does not find its parts has failed
source "${LSD_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}}/slurm/lib/stage.sh"
report_stage "$@"
