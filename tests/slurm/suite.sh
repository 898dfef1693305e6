#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The tests themselves, inside run.sh. Most of their time is Slurm's waiting, so they run side by side, each with a run
# folder of its own; those that take nodes away come last.
# shellcheck disable=SC2030,SC2031  # each test counts in a process of its own
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
source tests/slurm/check.sh
source tests/slurm/tools.sh
source tests/slurm/test_pipeline.sh
source tests/slurm/test_jobs.sh
source tests/slurm/test_dumps.sh
source tests/slurm/test_nodes.sh

together=(chain failure cancel time_limit requeue rank_killed elastic slices launchers dump_array single_node)
last=(nodes)

wanted() { [[ ${#names[@]} == 0 || " ${names[*]} " == *" $1 "* ]]; }

# start_test NAME: in the background; its words and counts go to files.
start_test() {
  (
    passed=0 failed=0 test_name=$1 out=$PREFIX/results/$1.out
    "test_$1"
    echo "$passed $failed" >"$PREFIX/results/$1.count"
  ) >"$PREFIX/results/$1.txt" 2>&1 &
  started+=("$1") pids+=($!)
}

collect_tests() { # waits for all that were started
  local i ok bad
  for i in "${!started[@]}"; do
    wait "${pids[i]}"
    echo "== ${started[i]} ($((SECONDS - start)) s)"
    cat "$PREFIX/results/${started[i]}.txt"
    read -r ok bad 2>/dev/null <"$PREFIX/results/${started[i]}.count" || { ok=0 bad=1 && echo "FAIL  ${started[i]}: ended early"; }
    passed=$((passed + ok)) failed=$((failed + bad))
  done
  started=() pids=()
}

start=$SECONDS
names=("$@")
for name in "${names[@]}"; do
  declare -F "test_$name" >/dev/null || { echo "no test '$name'; there are: valid ${together[*]} ${last[*]}" >&2 && exit 1; }
done
mkdir -p "$PREFIX/results" "$PREFIX/jobs"
make_data || exit 1
tests/slurm/cluster.sh up || exit 1
# shellcheck source=/dev/null
source "$PREFIX/env.sh"
hasten_requeued &
hastening=$!
trap 'kill "$hastening" 2>/dev/null' EXIT
started=() pids=()
for name in valid "${together[@]}"; do ! wanted "$name" || start_test "$name"; done
[[ ${#names[@]} != 0 ]] || start_test whole
collect_tests
for name in "${last[@]}"; do ! wanted "$name" || start_test "$name"; done
collect_tests
echo "== $((SECONDS - start)) s"
finish_checks
