#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a person needs who cannot look into the folder of a failed test cluster: queue, nodes, ends of logs.
set -uo pipefail
# shellcheck source=/dev/null
[[ ! -e $PREFIX/env.sh ]] || source "$PREFIX/env.sh"
echo "== what is left of the cluster"
timeout 10 squeue 2>&1
timeout 10 sinfo -N -o '%N %T %E' 2>&1
for file in "$PREFIX"/results/*.txt "$PREFIX"/jobs/*.log "$PREFIX"/runs/*/jobs/*.log "$PREFIX"/log/*; do
  [[ -s $file ]] || continue
  lines=12
  [[ $file != */results/* && $file != */slurmctld.log ]] || lines=60
  echo "-- ${file#"$PREFIX"/}"
  tail -n "$lines" "$file" | cut -c1-300
done
exit 0
