#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The short list at the end of a failed run of the suite: each fact that did not hold, and the last words of the jobs of
# that test (results/TEST.runs names its runs), crashed processes first.
set -uo pipefail
words=6 # lines of a log

logs_of() { # run
  ls -t "$PREFIX/jobs/$1.log" "$PREFIX/runs/$1"/jobs/*.log 2>/dev/null
}

echo "== FAILED, in short"
find . -maxdepth 1 -name 'core*' -type f -newer "$PREFIX/run_began" -printf 'FAIL  a process has crashed and left %f\n'
for result in "$PREFIX"/results/*.txt; do
  [[ -e $result ]] || continue
  name=$(basename "$result" .txt)
  facts=$(grep -E '^FAIL|not within' "$result" | cut -c1-240)
  [[ -e $PREFIX/results/$name.count ]] || facts+=$'\n'"FAIL  it did not come to its end"
  [[ -n $facts ]] || continue
  while read -r fact; do [[ -z $fact ]] || echo "FAIL $name: ${fact#FAIL  }"; done <<<"$facts"
  sort -u "$PREFIX/results/$name.runs" 2>/dev/null | while read -r run; do
    logs_of "$run" | head -n 3 | while read -r log; do
      grep -hE 'Segmentation|signal: |Killed|terminate called|error|failed' "$log" | tail -n 3 | cut -c1-200 | sed "s#^#     ${log#"$PREFIX"/}! #"
      tail -n "$words" "$log" | cut -c1-200 | sed "s#^#     ${log#"$PREFIX"/}: #"
    done
  done
done
exit 0
