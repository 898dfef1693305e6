# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by every script here: where the checkout or installation is, what the site file says, where runs go.
#
#   LSD_SITE   name or path of a site file; else slurm/sites/this_site.sh where that exists, else slurm/sites/local.sh
#   LSD_RUNS   folder of all runs; relative ones start at the checkout, or where an installed script was called
#   LSD_RUN    name of the run, default "main": all stages of one run live in $LSD_RUNS/$LSD_RUN

LSD_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${LSD_CALLER:=$PWD}"
export LSD_CALLER LSD_HOME=$LSD_ROOT # what is started from here belongs to the same checkout
cd "$LSD_ROOT" || exit 1
is_installed() { [[ ! -e $LSD_ROOT/CMakeLists.txt ]]; }

say() { echo "lsd: $*"; }
die() {
  echo "lsd: $*" >&2
  exit 1
}

site_file() {
  local site=${LSD_SITE:-}
  if [[ -z $site ]]; then
    site=local
    [[ ! -e slurm/sites/this_site.sh ]] || site=this_site
  fi
  [[ $site == */* ]] || site=slurm/sites/$site.sh
  [[ -r $site || ! -r $LSD_CALLER/$site ]] || site=$LSD_CALLER/$site
  [[ -r $site ]] || die "no site file $site: copy slurm/sites/example_gpu_cluster.sh to slurm/sites/this_site.sh and edit it, or set LSD_SITE"
  echo "$site"
}

# Words that a site file may set; it may also export SBATCH_* variables, which sbatch reads by itself.
LSD_WRAPPER=()          # in front of every program, for example (apptainer exec --nv --bind /scratch lsd.sif)
LSD_LAUNCH_OPTIONS=()   # added to srun or mpirun
LSD_PROGRAM_OPTIONS=()  # added to every program that computes, for example (--backend cuda)
site=$(site_file)
bash -n "$site" || die "the site file $site is no valid bash (its words are above)"
trap 'echo "lsd: the site file $site ended this script" >&2' EXIT
set +euo pipefail # a site file is written for a login shell, and so are the functions of module and conda
# shellcheck source=slurm/sites/local.sh
source "$site"
set -euo pipefail
trap - EXIT

: "${LSD_RUNS:=runs}" "${LSD_RUN:=main}" "${LSD_LAUNCHER:=mpirun}" "${LSD_SRUN_MPI:=pmix}"
[[ $LSD_RUNS == /* ]] || ! is_installed || LSD_RUNS=$LSD_CALLER/$LSD_RUNS
export LSD_RUNS LSD_RUN
[[ $LSD_RUN != */* ]] || die "LSD_RUN is a name, not a path: '$LSD_RUN' (set LSD_RUNS for the folder)"
run_folder=$LSD_RUNS/$LSD_RUN
[[ $run_folder != *,* ]] || die "the folder of a run may have no comma in its path, the report takes lists of folders: '$run_folder'"

# program_path lsd_probe: from LSD_BIN, this checkout's build, this installation, or PATH (a module). Behind a wrapper LSD_BIN
# is a path of its own world (a container), which cannot be looked into from here.
program_path() {
  local folder
  if [[ ${#LSD_WRAPPER[@]} != 0 && -n ${LSD_BIN:-} ]]; then
    echo "$LSD_BIN/$1"
    return
  fi
  for folder in "${LSD_BIN:-}" build/bin "$LSD_ROOT/../../bin"; do
    if [[ -n $folder && -x $folder/$1 ]]; then
      echo "$folder/$1"
      return
    fi
  done
  command -v "$1" || die "no program $1 in '${LSD_BIN:-build/bin}' or PATH: build it (cmake --build build), or set LSD_BIN in $site"
}
