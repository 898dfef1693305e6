# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# How a program is started on all ranks: LSD_LAUNCHER is srun, mpirun or none (one rank).

num_ranks() {
  if [[ $LSD_LAUNCHER == none ]]; then
    echo 1
  elif [[ -n ${SLURM_JOB_ID:-} ]]; then
    echo "${SLURM_NTASKS:-1}"
  else
    echo "${LSD_RANKS:-1}"
  fi
}

# Sets the array `launcher`.
make_launcher() {
  launcher=()
  case $LSD_LAUNCHER in
    none) ;;
    srun)
      [[ -n ${SLURM_JOB_ID:-} ]] || die "LSD_LAUNCHER=srun needs a Slurm job: use sbatch, or LSD_LAUNCHER=mpirun by hand"
      # -K1: without it a step hangs when one rank dies.
      launcher=(srun "--mpi=$LSD_SRUN_MPI" -K1 --ntasks "$(num_ranks)")
      # Since Slurm 22.05 a step no longer takes this from its job.
      [[ -z ${SLURM_CPUS_PER_TASK:-} ]] || launcher+=(--cpus-per-task "$SLURM_CPUS_PER_TASK")
      ;;
    mpirun) launcher=(mpirun -n "$(num_ranks)") ;;
    *) die "LSD_LAUNCHER=$LSD_LAUNCHER: use srun, mpirun or none" ;;
  esac
  [[ $LSD_LAUNCHER == none ]] || launcher+=("${LSD_LAUNCH_OPTIONS[@]}")
}

# MPI's own start-up can crash: seen with Slurm 22.05, PMIx 4.2 and Open MPI 4.1 under load, about one start in 50, when a
# message comes in before MPI_Init can take it. So a command that a signal kills before its start is on record in FOLDER
# (an empty FOLDER: ever) is started again, twice at most. Other ends are its own word.
with_second_tries() { # folder command...
  local folder=$1 start code try
  shift
  start=$(start_mark "$folder")
  for try in 1 2 3; do
    code=0
    run_forwarding "$@" || code=$?
    [[ $code -gt 128 && -z $received && $try -lt 3 && $(start_mark "$folder") == "$start" ]] || return "$code"
    say "killed by signal $((code - 128)) while it started up; once more"
  done
}

# A launcher whose start-up protocol the MPI library does not speak either fails in MPI_Init or starts N lonely ranks,
# which would all write to one folder. --version is answered once per MPI world: it must come once.
check_launcher() {
  local program=$1 first answer worlds
  make_launcher
  for first in "${launcher[0]:-}" "${LSD_WRAPPER[0]:-}"; do
    [[ -z $first ]] || command -v -- "$first" >/dev/null || die "no program $first in PATH, with which the programs are to be started: load its module, or change LSD_LAUNCHER or LSD_WRAPPER in $site"
  done
  [[ $(num_ranks) -gt 1 && ${LSD_CHECK_LAUNCHER:-1} == 1 ]] || return 0
  if [[ $LSD_LAUNCHER == srun && $LSD_SRUN_MPI == none ]]; then
    die "srun --mpi=none starts $(num_ranks) lonely ranks instead of one MPI job: set LSD_SRUN_MPI=pmix (srun --mpi=list shows what this Slurm has), or LSD_LAUNCHER=mpirun"
  fi
  if ! answer=$(with_second_tries "" "${launcher[@]}" "${LSD_WRAPPER[@]}" "$program" --version 2>&1 </dev/null); then
    [[ -z $received ]] || return 0 # that was its end; the caller looks for signals next
    printf '%s\n' "$answer" | tail -n 30 >&2
    die "'${launcher[*]}' cannot start MPI programs of this build (its words are above); compare 'srun --mpi=list' with the start-up protocols of the MPI library ('ompi_info | grep -i pmi'), set LSD_SRUN_MPI, or use LSD_LAUNCHER=mpirun"
  fi
  answer=${answer##*once more} # not what an earlier try said
  worlds=$(grep -c "^${program##*/} " <<<"$answer" || true)
  [[ $worlds == 1 ]] ||
    die "'${launcher[*]}' starts $worlds MPI worlds instead of one of $(num_ranks) ranks: its start-up protocol is not one that the MPI library speaks; set LSD_SRUN_MPI=pmix, or LSD_LAUNCHER=mpirun"
}
