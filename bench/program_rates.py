#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the programs reach on real shards, beside the bare step that lsd_bench times on sequences of the same lengths.

Makes shards of the bundled proteins, then takes turns: lsd_bench, lsd_train_autoencoder, lsd_bench --work dump,
lsd_dump_latents of means and of residues. Prints medians over the rounds and their ratios; turns cancel what else the
machine does. Tokens are counted without dead rows, <cls> and <eos> included.

usage:
  program_rates.py [--bin build/bin] [--model nano|s] [--capacity 8192] [--threads 1] [--rounds 5] [--steps 20]
"""
import argparse
import gzip
import json
import os
import random
import re
import statistics
import subprocess
import tempfile

MAX_TOKENS = 1024  # of a sequence in training


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def fasta_lengths(path):
    lengths = []
    with gzip.open(path, "rt") as file:
        for line in file:
            if line.startswith(">"):
                lengths.append(0)
            else:
                lengths[-1] += len(line.strip())
    return lengths


def draw_batch(lengths, capacity):
    """Lengths of one packed batch, as the training's packing meets them: random order, cut at MAX_TOKENS."""
    lengths, batch = lengths[:], []
    random.Random(1).shuffle(lengths)
    for length in lengths:
        tokens = min(length + 2, MAX_TOKENS)
        if sum(batch) + tokens <= capacity:
            batch.append(tokens)
    return batch


class Programs:
    def __init__(self, options, folder):
        self.options, self.folder, self.turn = options, folder, 0
        self.root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
        sample = os.path.join(self.root, "data_prep/sample/proteins.fasta.gz")
        self.common = [f"--threads={options.threads}", f"--backend={options.backend}"]
        self.lengths = os.path.join(folder, "lengths.txt")
        batch = draw_batch(fasta_lengths(sample), options.capacity)
        with open(self.lengths, "w", encoding="utf-8") as file:
            file.writelines(f"{n}\n" for n in batch)
        print(f"batches of {options.capacity} rows; the bench's holds {sum(batch)} tokens in {len(batch)} sequences")
        self.shards = os.path.join(folder, "shards")
        self.call("lsd_shard_uniref50", f"--input.files={sample}", f"--output.directory={self.shards}",
                  "--split.valid=0.02", common=[])
        self.encoder = None

    def call(self, program, *arguments, common=None):
        path = os.path.join(self.options.bin, program)
        return run([path, *arguments, *(self.common if common is None else common)])

    def fresh(self, name):
        self.turn += 1
        return os.path.join(self.folder, f"{name}{self.turn}")

    def bench(self, work):
        line = self.call("lsd_bench", f"--work={work}", f"--model={self.options.model}", f"--lengths={self.lengths}",
                         f"--steps={self.options.steps}", "--warmup=2", "--ceiling=false", "--json=true",
                         f"--activation={self.options.activation}")
        return json.loads(next(x for x in line.splitlines() if x.startswith("{")))["tokens_per_s"]

    def train(self):
        directory = self.fresh("run")
        config = os.path.join(self.root, f"configs/local/nm_{self.options.model}.cfg")
        every = max(1, self.options.steps // 4)
        self.call("lsd_train_autoencoder", f"--config={config}", f"--run.directory={directory}",
                  f"--data.shards={self.shards}", f"--training.steps={2 + self.options.steps}",
                  f"--training.capacity={self.options.capacity}", "--training.micro_batches=1", "--optimizer.warmup_steps=1",
                  f"--training.log_every={every}", "--validation.every_steps=0",
                  f"--compute.activation={self.options.activation}")
        self.encoder = directory
        with open(os.path.join(directory, "metrics.jsonl"), encoding="utf-8") as file:
            rates = [line["tokens_per_second"] for line in map(json.loads, file) if "tokens_per_second" in line]
        return statistics.median(rates[1:] or rates)

    def dump(self, mode):
        text = self.call("lsd_dump_latents", f"--features.autoencoder={self.encoder}", f"--input.shards={self.shards}",
                         f"--output.directory={self.fresh('dump')}", f"--output.mode={mode}", "--input.split=train",
                         f"--features.capacity={self.options.capacity}", "--output.element=float16",
                         f"--features.activation={self.options.activation}")
        found = re.search(r"([\d.]+) ?([kMG]?) tokens/s; .*: (\w+) was the limit", text)
        if not found:
            raise SystemExit(f"no rate in the output of lsd_dump_latents:\n{text}")
        return float(found[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]], found[3]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("bin", "build/bin"), ("model", "nano"), ("backend", "cpu"), ("activation", "float32")):
        parser.add_argument(f"--{name}", default=default)
    for name, default in (("capacity", 8192), ("threads", 1), ("rounds", 5), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    rates, limits = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        programs = Programs(options, folder)
        for _ in range(options.rounds):
            rates.setdefault("step", []).append(programs.bench("nm"))
            rates.setdefault("training", []).append(programs.train())
            rates.setdefault("pass", []).append(programs.bench("dump"))
            for mode in ("means", "residues"):
                rate, limit = programs.dump(mode)
                rates.setdefault(mode, []).append(rate)
                limits.setdefault(mode, []).append(limit)
    median = {name: statistics.median(values) for name, values in rates.items()}
    for name, program, base in (("training", "lsd_train_autoencoder", "step"), ("means", "lsd_dump_latents, means", "pass"),
                                ("residues", "lsd_dump_latents, residues", "pass")):
        turns = [one / other for one, other in zip(rates[name], rates[base])]
        print(f"{program}: {median[name]:.0f} tokens/s beside {median[base]:.0f} of lsd_bench; "
              f"ratio {statistics.median(turns):.3f} (median of {len(turns)} turns, {min(turns):.3f} to {max(turns):.3f})"
              + (f"; limit: {', '.join(sorted(set(limits[name])))}" if name in limits else ""))


if __name__ == "__main__":
    main()
