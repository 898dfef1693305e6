# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034,SC2016  # shared with script_tests.sh; text for other shells
# What goes wrong around a stage: signals at odd times, arrays in pieces, full disks, locks whose owner cannot be asked, site
# files and settings. Sourced by script_tests.sh.

fault_tests=(exit_codes container gpus_of_site without_probes elsewhere signal_between_stages endless_requeue early_failures full_disk asked_locks
  site_files launch_options probe_subset full_disk_sweep probe_array_in_queue probe_added refused_settings missing_input too_many_ranks linked_folder cancel_order from_one splitting)

site_with() { # line...: a site file of its own in $work/site.sh
  printf '%s\n' "source tests/slurm/test_site.sh" "$@" >"$work/site.sh"
}
tool() { # name: standard input as a program that stands before all others
  mkdir -p "$work/tools"
  cat >"$work/tools/$1"
  chmod +x "$work/tools/$1"
}
no_tools() { rm -rf "$work/tools"; }
forwarded() { # shell text: its code behind run_forwarding, and what was received
  bash -c 'say() { :; }; source slurm/lib/signals.sh; code=0; run_forwarding bash -c "$1" _ $$ || code=$?; echo "$code $received"' _ "$1"
}

test_exit_codes() {
  check "a program's code 127 is its code" "127 " "$(forwarded 'exit 127')"
  check "... and with a signal meanwhile" "127 USR1" "$(forwarded 'trap "" USR1; kill -USR1 $1; sleep 0.2; exit 127')"
  check "a code behind a signal" "3 USR1" "$(forwarded 'trap "" USR1; kill -USR1 $1; sleep 0.2; exit 3')"
  check "a signal from before is not forgotten" "0 USR1" "$(LSD_RECEIVED=USR1 forwarded 'exit 0')"
  fresh
  site_with "LSD_WRAPPER=(env no_such_program)"
  stage 'done' LSD_SITE="$work/site.sh"
  check "a wrapper's program that is missing: code" 1 "$code"
  check_has "... its own code is told" "its program ended with code 127 before this start began its work" "$work/out"
  fresh
  site_with "LSD_WRAPPER=(no_such_wrapper exec)"
  stage 'done' LSD_SITE="$work/site.sh"
  check_has "a missing wrapper is named" "no program no_such_wrapper in PATH" "$work/out"
  fresh
  mkdir "$LSD_RUNS/t/train_nm_s"
  touch "$LSD_RUNS/t/train_nm_s/report.json"
  stage liar
  check "a report.json is no end of another stage" 1 "$code"
  fresh
  stage 'done'
  stage 'done'
  check_has "a stage that is skipped says how to mend it" "if lsd_verify names damage there: remove DONE" "$work/out"
}

# Programs of a container: the folder they lie in is none of this machine.
test_container() {
  fresh
  printf '#!/bin/sh\n[ "${1%%/*}" = /inside/bin ] || exit 9\nprogram=${1##*/}\nshift\nexec "%s/bin/$program" "$@"\n' "$work" >"$work/enter"
  chmod +x "$work/enter"
  site_with "LSD_WRAPPER=($work/enter)" "LSD_BIN=/inside/bin"
  stage 'done' LSD_SITE="$work/site.sh"
  check "a container's program is started in it: code, calls" "0 1" "$code $(calls)"
}

# The numbers of GPUs and ranks that a node is asked for, stage by stage; "-": the script's own.
asked_of_nodes() { # LSD_GPUS_PER_NODE line-of-the-pipeline-file...
  site_with "LSD_GPUS_PER_NODE=$1"
  { cat configs/pipelines/nm_m.cfg && printf '%s\n' "${@:2}"; } >"$work/gpus.cfg"
  LSD_SITE="$work/site.sh" slurm/pipeline.sh --dry-run "$work/gpus.cfg" 2>/dev/null | awk '/^ *sbatch/ {
    gpus = ranks = "-"
    for (i = 1; i <= NF; ++i) { if (sub("--gpus-per-node=", "", $i)) gpus = $i; if (sub("--ntasks-per-node=", "", $i)) ranks = $i }
    printf "%s%s/%s", separator, gpus, ranks; separator = " " }'
}

test_gpus_of_site() {
  # shard, three slices of the training, dump, three of diffusion, probes, report
  check "4 GPUs a node, a rank for each; a probe's rank has one" "-/- 4/4 4/4 4/4 4/4 4/4 4/4 4/4 -/- -/-" "$(asked_of_nodes 4)"
  check "a type of GPU is no part of the number of ranks" "-/- h100:4/4" "$(asked_of_nodes h100:4 | cut -d' ' -f 1,2)"
  site_with "LSD_GPUS_PER_NODE=four"
  LSD_SITE="$work/site.sh" slurm/pipeline.sh --dry-run configs/pipelines/nm_m.cfg >"$work/out" 2>&1
  check "what is no number of GPUs: code" 1 $?
  check_has "... is told" "LSD_GPUS_PER_NODE = 'four' in $work/site.sh: a number, or type:number" "$work/out"
  check "no GPUs anywhere; ranks as in the scripts" "-/- 0/- 0/- 0/- 0/- 0/- 0/- 0/- 0/- -/-" "$(asked_of_nodes 0)"
  check "the pipeline file has the last word" "-/- 2/2 2/2 2/2 4/1 4/4 4/4 4/4 3/- -/-" \
    "$(asked_of_nodes 4 "train.gpus_per_node = 2" "dump.ranks_per_node = 1" "probe.gpus_per_node = 3")"
}

test_without_probes() {
  sed 's/^run = .*/run = t/; /^probe/d' tests/slurm/mini.cfg >"$work/bare.cfg"
  rm -rf "$LSD_RUNS/t" "$FAKE_LOG"
  FAKE_END='done' slurm/pipeline.sh --here "$work/bare.cfg" >"$work/out" 2>&1
  check "without probes the chain ends with a report of the trainings: code, last program" "0 lsd_report" "$? $(tail -n 1 "$FAKE_LOG" | cut -d' ' -f 1)"
  check_has "... that names them" "--runs $LSD_RUNS/t/diffusion_nm,$LSD_RUNS/t/train_nm" "$FAKE_LOG"
}

# An allocation got in another folder: that is SLURM_SUBMIT_DIR then.
test_elsewhere() {
  local here=$PWD
  fresh
  sed 's/^run = .*/run = t/' tests/slurm/mini.cfg >"$work/here.cfg"
  (cd / && SLURM_SUBMIT_DIR=/ FAKE_END='done' "$here/slurm/pipeline.sh" --here "$work/here.cfg") >"$work/out" 2>&1
  check "--here from another folder: all stages ran" "0 5" "$? $(cut -d' ' -f1 "$FAKE_LOG" | sort -u | wc -l)"
  SLURM_SUBMIT_DIR=/ bash slurm/train_nm_s.sh >"$work/out" 2>&1
  check "a stage script that does not find its parts has failed" 1 $?
}

# A stage that is done all the same when the signal has come: the next one is not started.
test_signal_between_stages() {
  local pid
  fresh
  rm -r "$LSD_RUNS/t/shard"
  sed 's/^run = .*/run = t/' tests/slurm/mini.cfg >"$work/here.cfg"
  FAKE_END=late bash slurm/single_node.sh "$work/here.cfg" >"$work/out" 2>&1 &
  pid=$!
  for _ in {1..1200}; do [[ -e $LSD_RUNS/t/shard/waiting ]] && break; sleep 0.05; done
  kill -USR1 "$pid"
  # It goes this way twice: to the pipeline, and from there to the stage.
  for _ in {1..1200}; do [[ $(grep -c "telling the program" "$work/out") == 3 ]] && break; sleep 0.05; done
  touch "$LSD_RUNS/t/shard/go"
  code=0
  wait "$pid" || code=$?
  check "a signal before the end of a stage: code, programs started" "75 1" "$code $(calls)"
  check_has "... the next stage is not started" "signal USR1 came before train_nm was started" "$work/out"
}

test_endless_requeue() {
  local codes="" turn
  fresh
  for turn in 1 2 3; do
    stage 'done' LSD_RECEIVED=USR1 SLURM_RESTART_COUNT=$((turn - 1))
    codes+="$code "
  done
  check "a signal ahead of each start: ends without progress are counted" "75 75 1 0" "$codes$(calls)"
  check_has "... and told" "3 jobs in a row ended without a new checkpoint" "$work/out"
  fresh
  mkdir -p "$LSD_RUNS/t/shard"
  sed 's/^run = .*/run = t/' tests/slurm/mini.cfg >"$work/here.cfg"
  codes=""
  for turn in 1 2 3; do
    code=0
    LSD_RECEIVED=USR1 FAKE_END='done' slurm/pipeline.sh --here "$work/here.cfg" >"$work/out" 2>&1 || code=$?
    codes+="$code "
  done
  check "... with --here as well" "75 75 1 0" "$codes$(calls)"
}

# reason_in_status: of the stage that failed
reason_in_status() { slurm/pipeline.sh --status t 2>/dev/null | sed -n 's/^ *failed: //p'; }

test_early_failures() {
  touch "$work/no_site.sh"
  fresh
  rm -r "$LSD_RUNS/t/shard"
  stage 'done'
  check "an input that is missing stands in the status" "train_nm_s needs shard of run t, which is missing: no DONE in $LSD_RUNS/t/shard" "$(reason_in_status)"
  fresh
  stage 'done'
  check "... until the stage is done" "0 " "$code $(reason_in_status)"
  fresh
  mkdir "$work/copy" # a checkout that was not built
  cp -r slurm "$work/copy"
  code=0
  env -u LSD_BIN LSD_RUN=t LSD_SITE="$work/no_site.sh" PATH="${PATH#"$work/bin:"}" bash "$work/copy/slurm/train_nm_s.sh" >"$work/out" 2>&1 || code=$?
  check "a program that is missing" "1 no program lsd_train_autoencoder in 'build/bin' or PATH" "$code $(reason_in_status | cut -d: -f1)"
  check "... its lock is gone" "" "$(ls "$LSD_RUNS"/t/jobs/*.lock 2>/dev/null)"
  fresh
  stage 'done' LSD_LAUNCHER=rocket
  check "a launcher that is none" "LSD_LAUNCHER=rocket: use srun, mpirun or none" "$(reason_in_status)"
  stage 'done' SLURM_RESTART_COUNT=1
  check "... stops a restart" "1 0" "$code $(calls)"
  fresh
  env LSD_RUN=t LSD_VARIANT=nm bash slurm/probe_sweep.sh >"$work/out" 2>&1
  check "a sweep that lacks its inputs" "probe_nm needs train_nm of run t" "$(reason_in_status | cut -d, -f1)"
  fresh_probe
  env -u LSD_BIN LSD_RUN=t LSD_VARIANT=nm LSD_SITE="$work/no_site.sh" PATH="${PATH#"$work/bin:"}" bash "$work/copy/slurm/probe_sweep.sh" >"$work/out" 2>&1
  check "a sweep whose program is missing" "no program lsd_probe in 'build/bin' or PATH" "$(reason_in_status | cut -d: -f1)"
  check "... and nothing more" 1 "$(wc -l <"$work/out")"
}

test_full_disk() {
  local before
  fresh
  stage stopped
  before=$(cat "$LSD_RUNS/t/jobs/train_nm_s.record")
  code=0
  (trap '' XFSZ && ulimit -f 0 && exec env LSD_RUN=t FAKE_END='done' bash slurm/train_nm_s.sh) 2>&1 | cat >"$work/out"
  check_has "no room for the lock: told" "cannot write $LSD_RUNS/t/jobs/train_nm_s.lock" "$work/out"
  check "no room for the lock: nothing runs, the record stays, no lock stays" "1 $before" \
    "$(calls) $(cat "$LSD_RUNS/t/jobs/train_nm_s.record")$(ls "$LSD_RUNS"/t/jobs/*.lock "$LSD_RUNS"/t/jobs/*.partial 2>/dev/null)"
  # shellcheck disable=SC2317,SC2059  # the scripts call it
  printf() { [[ ! -e $FAKE_FULL ]] && builtin printf "$@"; }
  export -f printf
  rm -f "$work/full"
  stage fills FAKE_FULL="$work/full"
  unset -f printf
  check "full while the program runs: code" 1 "$code"
  check_has "full while the program runs: told" "cannot write $LSD_RUNS/t/jobs/train_nm_s.record" "$work/out"
  check "full while the program runs: the record stays whole" running "$(sed -n 's/^state=//p' "$LSD_RUNS/t/jobs/train_nm_s.record")"
  fresh
  mkdir -p "$LSD_RUNS/t/jobs"
  : >"$LSD_RUNS/t/jobs/train_nm_s.lock"
  stage 'done'
  check "an empty lock is nobody's" 0 "$code"
}

test_asked_locks() {
  fresh
  mkdir -p "$LSD_RUNS/t/jobs"
  printf '12345\nn7 1 restart 0 1\n' >"$LSD_RUNS/t/jobs/train_nm_s.lock"
  printf '#!/bin/sh\nexit 0\n' | tool sleep
  printf '#!/bin/sh\necho "slurm_load_jobs error: Unable to contact slurm controller" >&2\nexit 1\n' | tool squeue
  stage 'done' PATH="$work/tools:$PATH"
  check "the lock of a job that Slurm cannot be asked about: code" "1 0" "$code $(calls)"
  check_has "... told" "Slurm does not answer (squeue)" "$work/out"
  printf '#!/bin/sh\necho RUNNING\n' | tool squeue
  stage 'done' PATH="$work/tools:$PATH"
  check "... that runs" "1 0" "$code $(calls)"
  printf '#!/bin/sh\necho "slurm_load_jobs error: Invalid job id specified" >&2\nexit 1\n' | tool squeue
  stage 'done' PATH="$work/tools:$PATH"
  check "... that Slurm does not know any more" "0 1" "$code $(calls)"
  fresh
  mkdir -p "$LSD_RUNS/t/jobs"
  printf 'by_hand.999999999\nelsewhere 999999999 restart 0 1\n' >"$LSD_RUNS/t/jobs/train_nm_s.lock"
  stage 'done'
  check "a process of another host cannot be asked" "1 0" "$code $(calls)"
  check_has "... told" "process 999999999 of host elsewhere" "$work/out"
  no_tools
}

test_site_files() {
  site_with 'module() { echo "$never_set"; false; }' 'module load x' '[[ -n ${ANYTHING:-} ]] && export ANYTHING'
  fresh
  stage 'done' LSD_SITE="$work/site.sh"
  check "a site file of unset variables and a last word that is false" 0 "$code"
  site_with 'exit 3'
  stage 'done' LSD_SITE="$work/site.sh"
  check_has "a site file that ends the script is named" "the site file $work/site.sh ended this script" "$work/out"
  site_with 'if then'
  stage 'done' LSD_SITE="$work/site.sh"
  check "a site file that is no bash: code" 1 "$code"
  check_has "... is named" "the site file $work/site.sh is no valid bash" "$work/out"
  stage 'done' LSD_RUNS="$work/a,b"
  check_has "a comma in the folder of runs" "may have no comma in its path" "$work/out"
}

# The report is started without a launcher wherever it is.
test_launch_options() {
  fresh
  site_with "LSD_LAUNCHER=srun" "LSD_LAUNCH_OPTIONS=(--cpu-bind=cores)"
  code=0
  env LSD_RUN=t LSD_SITE="$work/site.sh" FAKE_END='done' bash slurm/report.sh >"$work/out" 2>&1 || code=$?
  check "options of a launcher are not taken for a program: code, starts" "0 1" "$code $(calls)"
  fresh
  site_with "LSD_WRAPPER=(-v)"
  stage 'done' LSD_SITE="$work/site.sh"
  check_has "a wrapper that begins with a hyphen is no option of ours" "no program -v in PATH" "$work/out"
}

# member TASK MIN MAX COUNT [NAME=VALUE...]: a member of a probe array of run "t"
member() {
  code=0
  env LSD_RUN=t LSD_VARIANT=nm FAKE_END='done' LSD_PROBE_TASKS="$work/a.cfg" LSD_PROBE_REPRESENTATIONS=diffusion LSD_PROBE_TIMES="0.1 0.2 0.3 0.4" \
    SLURM_ARRAY_TASK_ID="$1" SLURM_ARRAY_TASK_MIN="$2" SLURM_ARRAY_TASK_MAX="$3" SLURM_ARRAY_TASK_COUNT="$4" "${@:5}" \
    bash slurm/probe_sweep.sh >"$work/out" 2>&1 || code=$?
}
fresh_probe() {
  fresh_dump
  mkdir -p "$LSD_RUNS/t/diffusion_nm" "$LSD_RUNS/t/dump_nm"
  touch "$LSD_RUNS/t/diffusion_nm/DONE" "$LSD_RUNS/t/dump_nm/DONE"
  printf '[task]\nfile = /tasks/a.csv\n[features]\ntime = 0.4\n[sweep]\ntimes =\n' >"$work/a.cfg"
}

test_probe_subset() {
  fresh_probe
  member 2 2 2 1
  check "--array=2 alone does not tell among how many: code, units" "1 0" "$code $(calls)"
  check_has "... the way out" "set LSD_PROBE_JOBS=N" "$work/out"
  member 1 1 3 3
  check "--array=1-3 neither" "1 0" "$code $(calls)"
  member 2 2 2 1 LSD_PROBE_JOBS=4
  check "with the number: its own unit" "0 a.diffusion.t0.3" "$code $(sed -n 's/.*--run.directory [^ ]*probe_nm\/\([^ ]*\).*/\1/p' "$FAKE_LOG")"
  member 0 0 0 1
  check "an array of one: all of them" "0 4" "$code $(calls)"
}

probe_state() { slurm/pipeline.sh --status t | awk '$1 == "probe_nm" {print $3}'; }

test_full_disk_sweep() {
  fresh_probe
  # shellcheck disable=SC2317,SC2059  # the scripts call it
  printf() { [[ ! -e $FAKE_FULL ]] && builtin printf "$@"; }
  export -f printf
  touch "$work/full"
  member 0 0 0 1 FAKE_FULL="$work/full"
  unset -f printf
  check "no room for the list of units: code, starts, no list" "1 0 " "$code $(calls) $(ls "$LSD_RUNS/t/jobs")"
  check_has "... told" "cannot write the units of $work/a.cfg" "$work/out"
  rmdir "$LSD_RUNS/t/jobs" && ln -s /proc "$LSD_RUNS/t/jobs" # where not even root may write
  member 0 0 0 1
  rm "$LSD_RUNS/t/jobs"
  check "a folder that may not be written: code, starts" "1 0" "$code $(calls)"
  check_has "... told" "cannot write $LSD_RUNS/t/jobs/probe_nm.list" "$work/out"
  mkdir -p "$LSD_RUNS/t/jobs"
  : >"$LSD_RUNS/t/jobs/probe_nm.list"
  check "an empty list is no sweep that is done" missing "$(probe_state)"
  member 0 0 0 1 LSD_PROBE_REPRESENTATIONS=score LSD_PROBE_TIMES=0
  check "a sweep without any unit: code" 1 "$code"
  check_has "... told" "no unit to probe" "$work/out"
}

# The units of `member`, as a file of run "t".
probe_pipeline() {
  { sed 's/^run = .*/run = t/; s/^probe.tasks = .*/probe.tasks = a.cfg/; s/^probe.jobs = .*/probe.jobs = 4/' tests/slurm/mini.cfg | sed "s#= a.cfg#= $work/a.cfg#"
    printf 'probe.times = 0.1 0.2 0.3 0.4\n'; } | sed 's/^probe.representations = .*/probe.representations = diffusion/' >"$work/probe.cfg"
}

test_probe_array_in_queue() {
  fresh_probe
  probe_pipeline
  rm -f "$work/ever" "$work/submitted" "$work/updated"
  printf '#!/bin/sh\ncat "%s/queue"\n' "$work" | tool squeue
  printf '#!/bin/sh\necho "$*" | tee -a "%s/ever" >>"%s/submitted"\nwc -l <"%s/ever"\n' "$work" "$work" "$work" | tool sbatch
  : >"$work/queue"
  PATH=$work/tools:$PATH slurm/pipeline.sh --from probe "$work/probe.cfg" >"$work/out" 2>&1
  check "a sweep: the whole array, its members' number" "--array=0-3 4" "$(head -n 1 "$work/submitted" | grep -oE -e '--array=[0-9,-]+') $(cat "$LSD_RUNS/t/jobs/probe_nm.members")"
  # Members 0 and 1 ended, 1 without its unit; 2 runs; 3 was cancelled.
  member 0 0 3 4
  member 1 0 3 4 FAKE_END=failed
  printf '1 RUNNING 5:00 2\n2 PENDING 5:00 N/A\n' >"$work/queue"
  printf '#!/bin/sh\necho "$*" >>"%s/updated"\n' "$work" | tool scontrol
  : >"$work/submitted"
  PATH=$work/tools:$PATH slurm/pipeline.sh --dry-run --from probe "$work/probe.cfg" >"$work/out" 2>&1
  check_has "a sweep half dead: what the report will wait for" "scontrol update JobId=2 Dependency=afterok:<probe_nm.1>:1_2" "$work/out"
  check "... a dry run updates nothing" 0 "$(grep -c update "$work/updated")"
  PATH=$work/tools:$PATH slurm/pipeline.sh --from probe "$work/probe.cfg" >"$work/out" 2>&1
  check "a sweep half dead: the members that failed or are gone" "--array=1,3" "$(head -n 1 "$work/submitted" | grep -oE -e '--array=[0-9,-]+')"
  check "... the report that is in the queue waits for them and the one that runs" "1 update JobId=2 Dependency=afterok:3:1_2" \
    "$(wc -l <"$work/submitted") $(grep update "$work/updated")"
  check_has "... told" "report: job 2 now waits for 3:1_2" "$work/out"
  printf '1 RUNNING 5:00 2\n3 PENDING 5:00 1\n3 PENDING 5:00 3\n' >"$work/queue"
  : >"$work/submitted"
  PATH=$work/tools:$PATH slurm/pipeline.sh --from probe "$work/probe.cfg" >"$work/out" 2>&1
  check "... nothing of it once all is in the queue" 0 "$(grep -c probe_sweep "$work/submitted")"
  check_has "... a report that is not there waits for all of them" "--dependency=afterok:1_2:3_1:3_3" "$work/submitted"
  no_tools
}

# A task that is added to the file of a run whose sweep is done.
test_probe_added() {
  local options=(--from probe "$work/probe.cfg")
  fresh_probe
  probe_pipeline
  member 0 0 0 1
  FAKE_END='done' slurm/pipeline.sh --here "${options[@]}" >"$work/out" 2>&1
  check_has "a sweep that has all units of the file is done" "probe_nm: done" "$work/out"
  slurm/pipeline.sh --dry-run "${options[@]}" >"$work/out" 2>&1
  check "... and not submitted" 0 "$(grep -c probe_sweep "$work/out")"
  sed 's/a.csv/b.csv/' "$work/a.cfg" >"$work/b.cfg"
  sed -i "s#^probe.tasks = .*#& $work/b.cfg#" "$work/probe.cfg"
  slurm/pipeline.sh --dry-run "${options[@]}" >"$work/out" 2>&1
  check_has "units that the file asks for by now: told" "probe_nm: done, but for units that" "$work/out"
  check "... submitted, and the report behind them" "1 --dependency=afterok:<probe_nm.1>" \
    "$(grep -c 'array=0-3.*probe_sweep' "$work/out") $(grep -o -e '--dependency=[^ ]*' "$work/out")"
  : >"$FAKE_LOG"
  FAKE_END='done' slurm/pipeline.sh --here "${options[@]}" >"$work/out" 2>&1
  check "... made here as well, the new ones alone" "0 4 0" "$? $(grep -c 'probe_nm/b' "$FAKE_LOG") $(grep -c 'probe_nm/a' "$FAKE_LOG")"
  sed -i "s#^probe.tasks = .*#probe.tasks = $work/b.cfg#" "$work/probe.cfg"
  slurm/pipeline.sh --dry-run "${options[@]}" >"$work/out" 2>&1
  check "a task taken away leaves a sweep done" 0 "$(grep -c probe_sweep "$work/out")"
}

test_refused_settings() {
  refused "a signal ahead of the script's own time" "report.time = '00:30:00' (its script's) is over before it begins" "$(grep -v '^report.time' tests/slurm/mini.cfg)" "report.signal_seconds = 7200"
  SBATCH_TIMELIMIT=4 refused "SBATCH_TIMELIMIT below the signal" "train.time = '4' (SBATCH_TIMELIMIT) is over before it begins" "$(grep -v '^train.time' tests/slurm/mini.cfg)"
  { grep -v '^train.time\|^report.time' tests/slurm/mini.cfg && echo "report.time = 0"; } >"$work/endless.cfg"
  SBATCH_TIMELIMIT=0 slurm/pipeline.sh --dry-run "$work/endless.cfg" >"$work/out" 2>/dev/null
  check "a time of 0 is no limit, as for sbatch" "0 1" "$? $(grep -c -- '--time=0 .*report.sh' "$work/out")"
  refused "a time by another way" "train.sbatch: --time is not for here" "$(cat tests/slurm/mini.cfg)" "train.sbatch = --exclusive --time=4"
  refused "a variant twice" "'nm' is named twice" "variants = nm tn nm"
  refused "a variant without its config" "train_nm has no config file configs/nm.cfg: set train.config" "variants = nm"
  printf '#!/bin/sh\n[ "$*" = "show config" ] && echo "MaxArraySize            = 1001"\n' | tool scontrol
  PATH=$work/tools:$PATH refused "an array above Slurm's limit" "dump.jobs = 1002: this Slurm takes arrays of up to 1001 tasks" "$(cat tests/slurm/mini.cfg)" "dump.jobs = 1002"
  no_tools
}

# Told before anything is submitted; by a dry run as well, which goes on.
test_missing_input() {
  fresh
  rm -r "$LSD_RUNS/t/shard"
  sed 's/^run = .*/run = t/' tests/slurm/mini.cfg >"$work/input.cfg"
  : >"$work/submitted"
  printf '#!/bin/sh\nexit 0\n' | tool squeue
  printf '#!/bin/sh\necho "$*" >>"%s/submitted"\nwc -l <"%s/submitted"\n' "$work" "$work" | tool sbatch
  submit() { # fact error [NAME=VALUE...]: refused with that error, with nothing submitted
    env PATH="$work/tools:$PATH" "${@:3}" slurm/pipeline.sh "$work/input.cfg" >"$work/out" 2>&1
    check "$1: code, jobs" "1 0" "$? $(wc -l <"$work/submitted")"
    check_has "$1: told" "$2" "$work/out"
  }
  submit "no input named" "nothing to shard: set fasta = FILE there, or LSD_FASTA" LSD_FASTA=
  submit "one file of two missing" "shard cannot read the FASTA file '/nowhere/b.fasta' (LSD_FASTA " "LSD_FASTA=$LSD_FASTA, /nowhere/b.fasta"
  submit "a comma too many" "the list of FASTA files has an empty place (LSD_FASTA " "LSD_FASTA=$LSD_FASTA, ,$LSD_FASTA"
  submit "... at the end" "the list of FASTA files has an empty place (LSD_FASTA " "LSD_FASTA=$LSD_FASTA,"
  LSD_FASTA='' slurm/pipeline.sh --dry-run "$work/input.cfg" >"$work/out" 2>&1
  check "a dry run goes on behind it: code, stages" "0 6" "$? $(grep -c sbatch "$work/out")"
  check_has "... but says so" "nothing to shard" "$work/out"
  echo "fasta = /nowhere/a.fasta" >>"$work/input.cfg"
  submit "the file's own is missing" "shard cannot read the FASTA file '/nowhere/a.fasta' (fasta = /nowhere/a.fasta)"
  mkdir "$LSD_RUNS/t/shard" && touch "$LSD_RUNS/t/shard/DONE"
  PATH=$work/tools:$PATH slurm/pipeline.sh "$work/input.cfg" >"$work/out" 2>&1
  check "shards that are done need no input: code, jobs" "0 5" "$? $(wc -l <"$work/submitted")"
  no_tools
}

test_too_many_ranks() {
  local file
  local -x LSD_LAUNCHER=srun
  printf '[training]\nmicro_batches = 4\n' >"$work/four_nm.cfg"
  file=$(sed "s#^\(train\|diffusion\)\.config = .*#\1.config = $work/four_{variant}.cfg#" tests/slurm/mini.cfg)
  refused "more ranks than micro-batches" "train_nm: 6 ranks are too many for training.micro_batches = 4" "${file/train.nodes = 2/train.nodes = 6}"
  refused "... of the second training" "diffusion_nm: 5 ranks are too many" "${file/diffusion.ranks_per_node = 2/diffusion.ranks_per_node = 5}"
  printf '%s\n' "${file/train.nodes = 2/train.nodes = 6}" "train.sbatch = --nodes=2" >"$work/ranks.cfg"
  slurm/pipeline.sh --dry-run "$work/ranks.cfg" >"$work/out" 2>&1
  check "nodes by another way are not counted" 0 $?
  printf '%s\n' "${file/train.nodes = 2/train.nodes = 6}" >"$work/ranks.cfg"
  LSD_LAUNCHER=none slurm/pipeline.sh --dry-run "$work/ranks.cfg" >"$work/out" 2>&1
  check "launcher none: one rank" 0 $?
}

test_linked_folder() {
  fresh
  mkdir -p "$work/elsewhere"
  ln -s "$work/elsewhere" "$LSD_RUNS/t/train_nm_s"
  for _ in 1 2 3; do stage silent FAKE_PROGRESS=1; done
  check "progress is seen behind a link" 75 "$code"
}

test_cancel_order() {
  fresh
  mkdir -p "$LSD_RUNS/t/jobs"
  printf 'train_nm\t1\t11\ntrain_nm\t2\t12\ntrain_nm\t3\t13\ndump_nm\t1\t14\n' >"$LSD_RUNS/t/jobs/jobs.tsv"
  printf '#!/bin/sh\nprintf "%%s RUNNING 5:00 N/A\\n" 11 12 13 14\n' | tool squeue
  printf '#!/bin/sh\necho "$*" >%s/cancelled\n' "$work" | tool scancel
  PATH=$work/tools:$PATH slurm/pipeline.sh --cancel t >"$work/out" 2>&1
  check "cancelled from the last to the first" "14 13 12 11" "$(cat "$work/cancelled")"
  no_tools
}

test_from_one() {
  fresh
  sed 's/^run = .*/run = t/; s/^variants = .*/variants = nm tn/' tests/slurm/mini.cfg >"$work/two.cfg"
  mkdir -p "$LSD_RUNS/t/train_tn"
  touch "$LSD_RUNS/t/train_tn/DONE"
  FAKE_END='done' slurm/pipeline.sh --here --from dump_tn "$work/two.cfg" >"$work/out" 2>&1
  check "--from one variant's stage: code, what ran" "0 lsd_dump_latents lsd_probe lsd_report lsd_train_diffusion" "$? $(cut -d' ' -f1 "$FAKE_LOG" | sort -u | xargs)"
  check "... of this variant only" 0 "$(grep -c 'train_nm\|dump_nm' "$FAKE_LOG")"
  rm "$LSD_RUNS/t/train_tn/DONE" "$LSD_RUNS/t/dump_tn/DONE"
  FAKE_END='done' slurm/pipeline.sh --here --from dump_tn "$work/two.cfg" >"$work/out" 2>&1
  check_has "--from: what it needs must be there" "--from dump_tn: dump_tn needs train_tn, which is" "$work/out"
}

# Names with glob characters, such as Slurm's n[1-4], are nobody's files.
test_splitting() {
  { cat tests/slurm/mini.cfg && echo "train.sbatch = --exclusive --nodelist=[c]onfigs [c]onfigs"; } >"$work/glob.cfg"
  slurm/pipeline.sh --dry-run "$work/glob.cfg" >"$work/out" 2>/dev/null
  check_has "sbatch options are split at blanks and nothing else" "--exclusive '--nodelist=[c]onfigs' '[c]onfigs' --dependency" "$work/out"
  fresh_probe
  sed 's/a.csv/b.csv/' "$work/a.cfg" >"$work/b.cfg"
  member 0 0 0 1 LSD_PROBE_TASKS="$(ls "$work"/[ab].cfg)" LSD_OPTIONS="--one 1"$'\n'"--two 2"
  check "tasks in lines: code, units of both" "0 a.diffusion.t0.1 b.diffusion.t0.1" \
    "$code $(sed -n 's/.*--run.directory [^ ]*probe_nm\/\([^ ]*t0.1\) .*/\1/p' "$FAKE_LOG" | xargs)"
  check "options in lines: all of them" 8 "$(grep -c -- '--one 1 --two 2$' "$FAKE_LOG")"
  fresh_probe
  member 0 0 0 1 LSD_PROBE_TASKS="$work/[a].cfg"
  check "a task's config is taken by its name" "1 0" "$code $(calls)"
}
