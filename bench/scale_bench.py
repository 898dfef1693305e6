#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""As many records as UniRef50 has, on one machine: what grows with the number of records, and not with residues.

Writes random proteins as FASTA, plain and as one gzip member, makes shards of each, verifies them, and starts a training of one
small step on them. Prints the time and the peak of resident memory of the rank with the most; mapped files count as far as
they were touched.

By default 65 million records of 62 residues (median), 12.6 GB of FASTA: UniRef50's number of records at a quarter of its
residues, so that 16 GB of memory and 40 GB of disk are enough.

usage:
  scale_bench.py FOLDER [--bin build/bin] [--megabytes 12600] [--median 62] [--ranks 2]
"""
import argparse
import os
import shutil
import subprocess
import time


def measure(what, command):
    """Runs to the end; its words are shown only if it fails."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    words = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)  # of the process and all that it waited for
    if status != 0:
        raise SystemExit(f"{' '.join(command)}\n{words}")
    print(f"{what:<44}{time.monotonic() - began:>8.1f} s{usage.ru_maxrss / 2**20:>8.2f} GiB at most", flush=True)
    return words


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bin", default="build/bin")
    parser.add_argument("--megabytes", type=int, default=12600)
    parser.add_argument("--median", type=int, default=62)
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    program = lambda name: os.path.join(options.bin, name)
    of_ranks = ["mpirun", "-n", str(options.ranks)]
    at = lambda name: os.path.join(options.folder, name)

    measure("FASTA written", [program("lsd_make_synthetic_fasta"), f"--megabytes={options.megabytes}", f"--median={options.median}",
                              f"--output={at('plain.fasta')}"])
    measure("gzip -1", ["sh", "-c", f"gzip -1 -c {at('plain.fasta')} > {at('one.fasta.gz')}"])
    for name in ("plain.fasta", "one.fasta.gz"):
        shutil.rmtree(at("shards"), ignore_errors=True)
        words = measure(f"{name} to shards, {options.ranks} ranks",
                        of_ranks + [program("lsd_shard_uniref50"), f"--input.files={at(name)}", f"--output.directory={at('shards')}"])
        print("".join(line[20:] + "\n" for line in words.splitlines() if line[20:].startswith("kept")), end="")
    print(measure("verified", [program("lsd_verify"), at("shards")]).splitlines()[-1][20:])
    shutil.rmtree(at("run"), ignore_errors=True)
    measure("a training of one step, start to end", of_ranks + [
        program("lsd_train_autoencoder"), "--config", os.path.join(root, "configs/demo/nm.cfg"), f"--data.shards={at('shards')}",
        f"--run.directory={at('run')}", "--training.steps=1", "--optimizer.warmup_steps=1", "--validation.every_steps=0", "--threads=1", "--backend=cpu"])


if __name__ == "__main__":
    main()
