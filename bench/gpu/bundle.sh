#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Packs what one needs to test and measure on another machine's GPU without building there: test programs, benches, the
# programs of the pipeline and the libraries that such a machine may lack. The machine brings the driver, cuBLASLt, MPI,
# HDF5 and the C++ runtime, at least as new as here.
#
#   bench/gpu/bundle.sh OUT.tar.gz [BUILD]     BUILD: default build, made with -DLSD_BUILD_BENCH=ON
#
# There: mkdir b && tar xzf OUT.tar.gz -C b && b/run.sh b RESULTS tests    (run.sh says more)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:?OUT.tar.gz} build=${2:-$here/../../build}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder"/{bin,lib,bench/peers,data_prep/sample}

programs=(tests/backends/gpu/lsd_gpu_tests tests/tasks/gpu/lsd_tasks_gpu_tests tests/dist/lsd_gpu_ranks bench/ops_bench
  bin/lsd_bench bin/lsd_shard_uniref50 bin/lsd_train_autoencoder bin/lsd_dump_latents bin/lsd_train_diffusion)
for program in "${programs[@]}"; do
  [[ -x $build/$program ]] || { echo "$build/$program is missing: build it first (cmake -DLSD_BUILD_BENCH=ON, ninja)" >&2; exit 1; }
  cp "$build/$program" "$folder/bin/"
done
strip --strip-debug "$folder"/bin/*
of_the_machine='^(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|libmpi|libmpi_cxx|libopen-[a-z]*|libz|libhdf5[_a-z]*|libcuda|ld-linux-x86-64)[-.]'
# carry FILE...: the libraries that these name, and those that these in turn name; not what the machine's own bring along.
carry() {
  local file name path
  for file in "$@"; do
    while read -r name; do
      [[ ! $name =~ $of_the_machine && ! -e $folder/lib/$name ]] || continue
      path=$(ldd "$file" | awk -v n="$name" '$1 == n { print $3 }')
      cp -L "$path" "$folder/lib/$name"
      carry "$path"
    done < <(objdump -p "$file" | awk '$1 == "NEEDED" { print $2 }')
  done
}
carry "$folder"/bin/*
root=$here/../..
cp "$root/bench/program_rates.py" "$folder/bench/"
cp "$root/bench/peers/lengths_65k.txt" "$folder/bench/peers/"
cp "$root/data_prep/sample/proteins.fasta.gz" "$folder/data_prep/sample/"
cp -r "$root/configs" "$root/cmake/mpi.env" "$folder/"
cp "$here/run.sh" "$folder/"
tar czf "$out" -C "$folder" .
echo "$out: $(du -h "$out" | cut -f1), $(find "$folder/lib" -type f | wc -l) libraries"
