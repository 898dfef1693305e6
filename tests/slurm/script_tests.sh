#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests of slurm/ that need no Slurm: syntax, dry run and status against golden text, refused pipeline files, and what a
# stage script makes of every end that a program can come to.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
# shellcheck source=tests/slurm/check.sh
source tests/slurm/check.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset SLURM_JOB_ID SLURM_SUBMIT_DIR "${!LSD_@}"
export LSD_FASTA=/fasta LSD_TASKS=/tasks
export LSD_RUNS=$work/runs LSD_SITE=tests/slurm/test_site.sh LSD_LAUNCHER=none LSD_BIN=$work/bin FAKE_LOG=$work/calls
mkdir "$work/bin"
for program in shard_uniref50 train_autoencoder dump_latents train_diffusion probe report; do
  cp tests/slurm/fake_program.sh "$work/bin/lsd_$program"
done
# No queue: a squeue that fails stands before a real one.
printf '#!/bin/sh\nexit 1\n' >"$work/bin/squeue"
chmod +x "$work/bin/squeue"
export PATH=$work/bin:$PATH

# Called with `< <(...)`: behind a pipe its count would be lost.
golden() { # name: compares standard input with tests/slurm/golden/NAME, where /RUNS stands for the folder of runs
  local text
  text=$(sed "s#$LSD_RUNS#/RUNS#g")
  [[ -z ${UPDATE_GOLDEN:-} ]] || printf '%s\n' "$text" >"tests/slurm/golden/$1"
  check "golden $1" "$(cat "tests/slurm/golden/$1")" "$text"
}

test_syntax() {
  local file
  for file in slurm/*.sh slurm/lib/*.sh slurm/sites/*.sh tests/slurm/*.sh; do
    bash -n "$file" || check "$file parses" 1 0
  done
  if command -v shellcheck >/dev/null; then
    shellcheck -x slurm/*.sh slurm/lib/*.sh slurm/sites/*.sh tests/slurm/*.sh
    check "shellcheck is clean" 0 $?
  fi
}

test_dry_run() {
  golden demo.dry_run < <(slurm/pipeline.sh --dry-run configs/pipelines/demo.cfg)
  golden nm_m.dry_run < <(slurm/pipeline.sh --dry-run configs/pipelines/nm_m.cfg)
  golden mini_from_diffusion.dry_run < <(slurm/pipeline.sh --dry-run --from diffusion tests/slurm/mini.cfg)
  check "a dry run leaves nothing behind" "" "$(ls "$LSD_RUNS" 2>/dev/null)"
}

refused() { # fact text-of-the-error line...
  printf '%s\n' "${@:3}" >"$work/bad.cfg"
  slurm/pipeline.sh --dry-run "$work/bad.cfg" >"$work/out" 2>&1
  check "$1: code" 1 $?
  check_has "$1: error" "$2" "$work/out"
}

test_refused_files() {
  refused "unknown key" "bad.cfg:2: unknown key 'colour'" "variants = nm" "colour = red"
  refused "key given twice" "bad.cfg:2: 'variants' is given twice" "variants = nm" "variants = tn"
  refused "line without =" "bad.cfg:1: not of the form key = value" "variants nm"
  refused "no variants" "'variants' is missing" "run = x"
  refused "unknown variant" "variant 'xy': there is no slurm/train_xy_s.sh" "variants = xy"
  refused "nodes = none" "train.nodes = 'none': a whole number from 1" "variants = nm" "train.nodes = none"
  refused "latents = both" "latents = 'both'" "variants = nm" "latents = both"
  slurm/pipeline.sh --from sample --dry-run tests/slurm/mini.cfg >"$work/out" 2>&1
  check "unknown --from: code" 1 $?
  check_has "unknown --from: error" "--from sample: this pipeline has shard" "$work/out"
}

# stage END [NAME=VALUE...]: runs the training stage of run "t"; sets code, output in $work/out
stage() {
  code=0
  env LSD_RUN=t FAKE_END="$1" "${@:2}" bash slurm/train_nm_s.sh >"$work/out" 2>&1 || code=$?
}
fresh() {
  rm -rf "$LSD_RUNS/t" "$FAKE_LOG"
  mkdir -p "$LSD_RUNS/t/shard"
  touch "$LSD_RUNS/t/shard/DONE" "$FAKE_LOG"
}
calls() { wc -l <"$FAKE_LOG"; }

test_ends() {
  fresh
  stage 'done'
  check "done: code" 0 "$code"
  stage failed
  check "a done stage is skipped" "0 1" "$code $(calls)"
  fresh
  stage failed
  check "failed: code" 1 "$code"
  check_has "failed: the program's reason" "train_nm_s of run t failed: the disk is full" "$work/out"
  stage 'done' LSD_SLICE=2 LSD_SLICES=2
  check "a later slice stops at a failure" "1 1" "$code $(calls)"
  stage 'done' SLURM_RESTART_COUNT=1
  check "a restart stops at a failure" "1 1" "$code $(calls)"
  stage 'done'
  check "a new start tries again" "0 2" "$code $(calls)"
  fresh
  stage stopped
  check "stopped: code" 75 "$code"
  stage liar
  check "code 0 without DONE fails" 1 "$code"
  fresh
  stage early
  check "an end before the run began fails" "1 1" "$code $(calls)"
  fresh
  stage crash_once
  check "a crash while starting up: started again" "0 2" "$code $(calls)"
  fresh
  stage crash
  check "a crash at every start fails" "1 3" "$code $(calls)"
  check_has "... and is named" "ended with code 139 before the run began" "$work/out"
  rm -rf "$LSD_RUNS/t/shard"
  stage 'done'
  check_has "a missing input is named" "needs shard of run t, which is missing" "$work/out"
}

test_idle_ends() {
  fresh
  stage silent && check "killed: code" 75 "$code"
  stage silent && check "killed again: code" 75 "$code"
  stage silent && check "killed three times without progress: code" 1 "$code"
  check_has "without progress: reason" "3 jobs in a row ended without a new checkpoint" "$work/out"
  fresh
  for _ in 1 2 3 4; do stage silent FAKE_PROGRESS=1; done
  check "killed four times with progress: code" 75 "$code"
}

test_signals() {
  local signal pid
  for signal in USR1 TERM INT; do
    fresh
    # `set -m`: a background command of a script would ignore INT.
    (set -m && exec env LSD_RUN=t FAKE_END=wait bash slurm/train_nm_s.sh) >"$work/out" 2>&1 &
    pid=$!
    for _ in {1..100}; do [[ -e $LSD_RUNS/t/train_nm_s/waiting ]] && break; sleep 0.05; done
    kill -"$signal" "$pid"
    code=0
    wait "$pid" || code=$?
    check "$signal reaches the program as USR1: code" 75 "$code"
    check_has "$signal: stopped" "stopped at a safe point" "$work/out"
  done
}

test_lock() {
  fresh
  mkdir -p "$LSD_RUNS/t/jobs"
  echo "by_hand.$$" >"$LSD_RUNS/t/jobs/train_nm_s.lock"
  stage 'done'
  check "two jobs on one stage: code" "1 0" "$code $(calls)"
  check_has "two jobs on one stage: error" "is being worked on by job by_hand.$$" "$work/out"
  echo "by_hand.999999999" >"$LSD_RUNS/t/jobs/train_nm_s.lock"
  stage 'done'
  check "the lock of a dead owner is taken over" 0 "$code"
  fresh
  stage usurped
  check "superseded by a later start: code" 1 "$code"
  check_has "superseded: said so" "this start has been superseded by a later one of job" "$work/out"
  check "superseded: record and lock are the later one's" "running another start" \
    "$(sed -n 's/^state=//p' "$LSD_RUNS/t/jobs/train_nm_s.record") $(sed -n 2p "$LSD_RUNS/t/jobs/train_nm_s.lock")"
}

test_status() {
  fresh
  local run=$LSD_RUNS/t
  mkdir -p "$run/jobs" "$run/train_nm/checkpoints" "$run/diffusion_nm" "$run/probe_nm/a.encoder.t0"
  printf 'shard\t1\t11\ntrain_nm\t1\t12\ntrain_nm\t2\t13\ndiffusion_nm\t1\t14\nprobe_nm\t1\t15\n' >"$run/jobs/jobs.tsv"
  printf '[training]\nsteps = 500\n[validation]\nsteps = 7\n' >"$run/train_nm/config.cfg"
  printf '{"kind":"train","step":320,"loss":1.5}\n' >"$run/train_nm/metrics.jsonl"
  echo checkpoint-00000300 >"$run/train_nm/checkpoints/latest"
  printf 'state=stopped\n' >"$run/jobs/train_nm.record"
  printf '{\n  "reason": "no space left on /scratch",\n  "host": "n1"\n}\n' >"$run/diffusion_nm/FAILED"
  printf 'a.encoder.t0\t-\na.diffusion.t0.3\t-\n' >"$run/jobs/probe_nm.list"
  touch "$run/probe_nm/a.encoder.t0/DONE"
  golden status < <(slurm/pipeline.sh --status t)
  slurm/pipeline.sh --status nothing >"$work/out" 2>&1
  check "status of no run: code" 1 $?
}

test_whole_chain() {
  rm -rf "$LSD_RUNS" "$FAKE_LOG"
  sed 's/^run = .*/run = t/' tests/slurm/mini.cfg >"$work/chain.cfg"
  FAKE_END='done' slurm/pipeline.sh --here "$work/chain.cfg" >"$work/out" 2>&1
  check "the chain by hand: code" 0 $?
  golden chain.calls < <(sed "s#$LSD_RUNS#/RUNS#g; s#$work#/WORK#g" "$FAKE_LOG")
  FAKE_END=failed slurm/pipeline.sh --here "$work/chain.cfg" >"$work/out" 2>&1
  check "once more: only the report is made again" "1 8" "$? $(wc -l <"$FAKE_LOG")"
}

for name in syntax dry_run refused_files ends idle_ends signals lock status whole_chain; do "test_$name"; done
finish_checks
