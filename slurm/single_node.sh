#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A whole pipeline on one node, stage after stage: sbatch slurm/single_node.sh configs/pipelines/nm_s.cfg, or by hand
# without Slurm: LSD_RANKS=2 slurm/single_node.sh configs/pipelines/demo.cfg. Finished stages are skipped.
#SBATCH --job-name=single_node --output=%x.%j.log --open-mode=append --requeue --signal=B:USR1@300
#SBATCH --nodes=1 --ntasks-per-node=8 --gpus-per-node=8 --time=24:00:00
set -e # a job that does not find its parts has failed
source "${LSD_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}}/slurm/lib/stage.sh"
[[ $# -gt 0 ]] || set -- configs/pipelines/nm_s.cfg
code=0
run_forwarding env LSD_RECEIVED="$received" bash slurm/pipeline.sh --here "$@" || code=$?
[[ $code != 75 && ($code -lt 128 || -z $received) ]] || go_on_later
exit "$code"
