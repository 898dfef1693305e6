#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Stands for an lsd program where only its end matters: FAKE_END says how it ends in the folder given to it.
#   done | stopped | failed   with that state file (lsd_report: report.json);  silent: killed without a word;  liar: code 0 without DONE
#   usurped: done, but a later start of its job has taken the stage over meanwhile
#   crash: killed by a signal before the folder is a run's;  crash_once: so at the first start, then done
#   late: signalled or not it ends as done, once told to ($folder/go);  fills: the disk is full from now on ($FAKE_FULL), then killed
#   early: code 1 before the folder is a run's;      wait: until USR1, then stopped;      lost: code 1 in the midst of its work
#   early_told: until USR1, then as early
# A task of a dump array has a folder of its own; the last one to be done says so of the whole dump (FAKE_FORGETS: none does).
for argument; do
  case ${previous:-} in
    --run.directory | --output.directory | --directory) folder=$argument ;;
    --config) config=$argument ;;
    --run.memory_plan) plan=$argument ;;
    --output.task_index) task=$argument ;;
    --output.task_count) tasks=$argument ;;
  esac
  previous=$argument
done
if [[ -n ${plan:-} ]]; then
  printf '2026-01-02 03:04:05 estimate: %s\n' '3.0 GiB of memory on each rank; 4.5 GiB of disk for checkpoints' '20 steps of 2 k tokens; 7.2e+19 operations; the time follows' >&2
  exit 0
fi
if [[ $argument == --print-config ]]; then exec cat "$config"; fi
echo "${0##*/} $*" >>"$FAKE_LOG"
[[ $FAKE_END != early ]] || exit 1
if [[ $FAKE_END == early_told ]]; then
  trap 'exit 1' USR1
  touch "$FAKE_LOG.waiting"
  for _ in {1..1200}; do sleep 0.05; done
fi
if [[ $FAKE_END == crash ]] || [[ $FAKE_END == crash_once && $(wc -l <"$FAKE_LOG") == 1 ]]; then kill -SEGV $$; fi
whole=$folder
[[ ${tasks:-1} == 1 ]] || folder=$folder/tasks/$(printf '%04d-of-%04d' "$task" "$tasks")
mkdir -p "$folder/checkpoints"
echo "start $(date +%s%N)" >>"$folder/environment.json"
[[ -z ${FAKE_PROGRESS:-} ]] || touch "$folder/checkpoints/checkpoint-$(date +%s%N)"
say() { printf '{\n  "reason": "%s",\n  "host": "x"\n}\n' "$2" >"$folder/$1"; }
case $FAKE_END in
  done | crash_once) if [[ $0 == *report ]]; then touch "$folder/report.json"; else say DONE "all steps are done"; fi
    if [[ ${tasks:-1} != 1 && -z ${FAKE_FORGETS:-} && $(find "$whole/tasks" -name DONE | wc -l) == "$tasks" ]]; then
      folder=$whole say DONE "the set is complete"
    fi
    ;;
  stopped) say STOPPED "asked" && exit 75 ;;
  failed) say FAILED "the disk is full" && exit 1 ;;
  silent) kill -KILL $$ ;;
  lost) exit 1 ;;
  liar) ;;
  late)
    trap '' USR1
    touch "$folder/waiting"
    until [[ -e $folder/go ]]; do sleep 0.05; done
    say DONE "all steps are done"
    ;;
  fills) touch "$FAKE_FULL" && kill -KILL $$ ;;
  usurped) say DONE "all steps are done" && printf '%s\n' "$PPID" "another start" >"${folder%/*}/jobs/${folder##*/}.lock" ;;
  wait)
    trap 'say STOPPED "by a signal"; exit 75' USR1
    touch "$folder/waiting"
    for _ in {1..1200}; do sleep 0.05; done
    ;;
esac
