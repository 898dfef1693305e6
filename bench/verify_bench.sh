#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lsd_verify against the disk's own read rate: the same files are read by dd, as many at a time as lsd_verify has
# threads, and by lsd_verify, by turns, each time from the disk and not from memory. Prints both rates and their ratio.
#
#   bench/verify_bench.sh FOLDER [ROUNDS [THREADS]]     FOLDER: a finished artefact, some gigabytes; default 5 rounds, 4 threads
#
# LSD_BIN: the programs, default build/bin.
set -euo pipefail
folder=${1:?a folder with a finished artefact}
rounds=${2:-5} threads=${3:-4}
bin=${LSD_BIN:-$(dirname "$0")/../build/bin}
mapfile -t files < <(find "$folder" -type f -size +1M -printf '%s %p\n' | sort -rn | cut -d' ' -f2-)
bytes=$(du -bc "${files[@]}" | tail -1 | cut -f1)

# Out of the page cache, file by file; needs no special rights.
forget() {
  sync
  local file
  for file in "${files[@]}"; do dd if="$file" iflag=nocache count=0 status=none; done
}
seconds() { # command...
  local begin
  forget
  begin=$(date +%s.%N)
  "$@" >/dev/null
  awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN { print b - a }'
}
read_all() { printf '%s\0' "${files[@]}" | xargs -0 -P "$threads" -I{} dd if={} of=/dev/null bs=4M status=none; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for ((round = 0; round < rounds; ++round)); do
  echo "dd $(seconds read_all)"
  echo "verify $(seconds "$bin/lsd_verify" "$folder" --threads="$threads" --quiet)"
done | tee /dev/stderr >"${TMPDIR:-/tmp}/verify_bench.$$"
disk=$(awk '/^dd/ { print $2 }' "${TMPDIR:-/tmp}/verify_bench.$$" | median)
verify=$(awk '/^verify/ { print $2 }' "${TMPDIR:-/tmp}/verify_bench.$$" | median)
rm -f "${TMPDIR:-/tmp}/verify_bench.$$"
awk -v n="$bytes" -v d="$disk" -v v="$verify" -v f="${#files[@]}" \
  'BEGIN { printf "%d files, %.2f GB: dd %.0f MB/s, lsd_verify %.0f MB/s, ratio %.2f\n", f, n / 1e9, n / d / 1e6, n / v / 1e6, d / v }'
