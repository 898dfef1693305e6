#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What checkpoints cost a training, and how soon a stopped one goes on. CPU backend, one rank.

Cost: the same steps with and without checkpoints, by turns; the difference of the medians over the number of checkpoints,
against the default cadence. Checkpoints are written while training goes on, so that this counts the snapshot and what the
writing takes from the steps beside it (on few cores more than on a node). They must be further apart than a write takes.
Resume: a run with one checkpoint is started again, its files out of memory as far as the kernel takes advice, and ends where
it would begin its first step.

usage:
  checkpoint_bench.py FOLDER [--bin build/bin] [--size s] [--resume-size m] [--steps 24] [--every 6] [--rounds 3] [--threads 2]
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(command, wanted=0, **environment):
    began = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if ended.returncode != wanted:
        raise SystemExit(f"{' '.join(command)}: code {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return time.monotonic() - began


def out_of_memory(folder):
    os.sync()
    for file in pathlib.Path(folder).rglob("*"):
        if file.is_file():
            with open(file, "rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_below(folder):
    return sum(file.stat().st_size for file in pathlib.Path(folder).rglob("*") if file.is_file())


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(options.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bin = pathlib.Path(options.bin)
        shutil.rmtree(self.folder / "shards", ignore_errors=True)
        run([str(self.bin / "lsd_shard_uniref50"), f"--input.files={ROOT / 'data_prep/sample/proteins.fasta.gz'}",
             f"--output.directory={self.folder / 'shards'}"])

    def train(self, name, size, steps, every, *more, **how):
        return run([str(self.bin / "lsd_train_autoencoder"), "--config", str(ROOT / f"configs/nm_{size}.cfg"), "--backend=cpu", "--quiet",
                    f"--threads={self.options.threads}", f"--data.shards={self.folder / 'shards'}", f"--run.directory={self.folder / name}",
                    f"--training.steps={steps}", "--training.capacity=1024", "--training.micro_batches=1", "--validation.every_steps=0",
                    "--optimizer.warmup_steps=1", "--data.max_length=512", f"--checkpoint.every_steps={every}", "--checkpoint.every_minutes=0",
                    "--checkpoint.keep_last=1", "--checkpoint.milestone_steps=0", *more], **how)

    def cost(self):
        size, steps, often = self.options.size, self.options.steps, self.options.every
        more = (steps - 1) // often  # the last step's is made in either case
        seconds = {0: [], often: []}
        for _ in range(self.options.rounds):
            for every, taken in seconds.items():
                shutil.rmtree(self.folder / "cost", ignore_errors=True)
                taken.append(self.train("cost", size, steps, every))
        without, with_them = (statistics.median(seconds[every]) for every in (0, often))
        each = (with_them - without) / more
        spread = {every: f"{min(taken):.1f} to {max(taken):.1f}" for every, taken in seconds.items()}
        print(f"{size.upper()}: {steps} steps in {without:.1f} s ({spread[0]}), with {more} checkpoints more {with_them:.1f} s ({spread[often]}): {each:.2f} s each "
              f"({bytes_below(self.folder / 'cost/checkpoints') / 1e6:.0f} MB); one in 30 minutes: {each / 1800:.3%} of the time", flush=True)
        shutil.rmtree(self.folder / "cost")

    def resume(self):
        size = self.options.resume_size
        shutil.rmtree(self.folder / "resume", ignore_errors=True)
        self.train("resume", size, 2, 1, "--checkpoint.in_background=false", wanted=1, LSD_FAULT="train.step_done#2=exit")
        taken = []
        for _ in range(self.options.rounds):
            out_of_memory(self.folder / "resume")
            taken.append(self.train("resume", size, 2, 1, wanted=1, LSD_FAULT="train.resumed=exit"))
        print(f"{size.upper()}: ready for its first step {statistics.median(taken):.1f} s behind its start (largest {max(taken):.1f} s), "
              f"from {bytes_below(self.folder / 'resume/checkpoints') / 1e9:.2f} GB", flush=True)
        shutil.rmtree(self.folder / "resume")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bin", default="build/bin")
    parser.add_argument("--size", default="s")
    parser.add_argument("--resume-size", default="m")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not 1 <= options.every < options.steps:
        parser.error("--every must be from 1 to less than --steps: else there is nothing to compare")
    bench = Bench(options)
    bench.cost()
    bench.resume()


if __name__ == "__main__":
    main()
