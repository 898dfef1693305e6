#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests on a real Slurm cluster that this script starts on this machine and stops again, by its own process ids, also
# after a failure or when the time is up.
#
#   tests/slurm/run.sh [NAME...]    names of tests in tests/slurm/test_*.sh, default all
#
#   LSD_BIN                  the programs, default build/bin
#   LSD_SLURM_TEST_SECONDS   limit of the whole, default 570
#   MODE                     namespaces or ports: see cluster.sh; default: what this machine allows
#   KEEP=1                   keeps the folder of the cluster
#
# Needs the packages of cmake/debian-packages-slurm.txt and root. Exit codes: 0 passed, 1 failed, 77 cannot run here.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export PATH=$PATH:/usr/sbin:/sbin

cannot_run() {
  echo "SKIPPED: the tests on a Slurm cluster cannot run here: $*"
  exit 77
}
[[ $(id -u) == 0 ]] || cannot_run "slurmd starts jobs for others and so needs root; this is user $(id -un)"
for program in slurmctld slurmd munged mungekey sbatch; do
  command -v "$program" >/dev/null || cannot_run "no $program: install the packages of cmake/debian-packages-slurm.txt"
done

unset SLURM_JOB_ID SLURM_SUBMIT_DIR SLURM_CONF
LSD_BIN=$(cd "${LSD_BIN:-build/bin}" && pwd) || exit 1
limit=${LSD_SLURM_TEST_SECONDS:-570}
for variable in "${!LSD_@}" "${!SBATCH_@}"; do [[ $variable == LSD_BIN ]] || unset "$variable"; done
folder=${TMPDIR:-/tmp}
[[ ${#folder} -le 40 ]] || folder=/tmp # sockets have short names
PREFIX=$(mktemp -d "$folder/lsd_slurm.XXXXXX") || exit 1
export PREFIX LSD_BIN
touch "$PREFIX/run_began"

code=1
# shellcheck disable=SC2317  # called by the trap
finish() {
  trap '' INT TERM
  [[ -z ${suite:-} ]] || kill -TERM "$suite" 2>/dev/null
  [[ $code == 0 ]] || tests/slurm/tell_failure.sh
  timeout -k 5 60 tests/slurm/cluster.sh down
  [[ $code == 0 ]] || tests/slurm/tell_shortly.sh
  if [[ -n ${KEEP:-} ]]; then echo "kept: $PREFIX"; else rm -rf "$PREFIX"; fi
  exit "$code"
}
trap finish EXIT
trap 'exit 1' INT TERM

# `timeout` ends the suite's whole process group; the cluster's daemons have sessions of their own.
timeout -k 20 "$limit" bash tests/slurm/suite.sh "$@" &
suite=$!
wait "$suite"
code=$?
suite=
[[ $code != 124 && $code != 137 ]] || echo "FAIL  the tests were not done within $limit s"
exit "$code"
