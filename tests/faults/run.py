#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fault suite: the real programs, broken on purpose. Each case ends in a continuation that equals an unfaulted run,
or in a failing exit that names its cause.

    tests/faults/run.py [--full] [--seed N] [--list] [--keep] [--bin FOLDER] [CASE...]
"""
import argparse
import collections
import concurrent.futures
import copy
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

import damage_cases  # noqa: F401  (each module adds its cases)
import disk_cases  # noqa: F401
import kill_cases  # noqa: F401
import rank_cases  # noqa: F401
from cases import CASES
from lab import ROOT, Failed, Job, Lab, Skipped
from stages import Dump, Import, Probe, Report, Shard, Train, make_inputs

FULL_KILLS = 200


class Suite:
    """The stages with their unfaulted runs, which all cases compare with."""

    def __init__(self, lab, full):
        self.lab = lab
        self.full = full
        self.told = []
        self.seconds = {}  # stage -> seconds of its unfaulted run on 2 ranks
        reference = lab.folder / "reference"
        reference.mkdir()
        fasta = make_inputs(lab.folder)
        self.shard = Shard(reference / "shards", fasta)
        self.train = Train("train", reference / "nm", self.shard.reference)
        self.dump = Dump(reference / "latents", self.shard.reference, self.train.reference)
        self.diffusion = Train("diffusion", reference / "diffusion", self.shard.reference, self.train.reference)
        self.probe = Probe(reference / "probes", lab.folder / "task.csv", self.train.reference)
        self.stages = [self.shard, self.train, self.dump, self.diffusion, self.probe]
        self.esm2 = Import("import", reference / "esm2")
        self.report = Report(reference / "report", self.probe.reference, self.train.reference)
        self.stored = Train("stored_diffusion", reference / "stored_diffusion", self.shard.reference, self.train.reference,
                            self.dump.reference)
        for stage in [*self.stages, self.stored, self.esm2, self.report]:
            start = time.monotonic()
            lab.run_well(stage.command(stage.reference), 2)
            self.seconds[stage.name] = time.monotonic() - start

    # The same stages, with the same outcome, on another copy of what they read.
    def train_on(self, shards):
        return Train("train", self.train.reference, shards)

    def dump_of(self, autoencoder):
        return Dump(self.dump.reference, self.shard.reference, autoencoder)

    def diffusion_on_dump(self, dump):
        return Train("stored_diffusion", self.stored.reference, self.shard.reference, self.train.reference, dump)

    def kills(self, short, full):
        return full if self.full else short

    def tell(self, text):
        self.told.append(f"      {text}\n")

    def for_case(self, name, seed):
        """The same with a folder, draws and counts of its own: what a case does depends on no other."""
        mine = copy.copy(self)
        mine.lab = Lab(self.lab.folder / name, self.lab.binaries, f"{seed} {name}", self.lab.verbose)
        mine.told = []
        return mine


def run_case(suite, name):
    start = time.monotonic()
    try:
        CASES[name](suite)
        outcome, text = "passed", ""
    except Skipped as reason:
        outcome, text = "skipped", f": {reason}"
    except Failed as problem:
        outcome, text = "failed", f": {problem}"
    except Exception:  # a bug of the suite fails its case, and the others run
        outcome, text = "failed", ": " + traceback.format_exc()
    if outcome == "passed" and not suite.keep:
        shutil.rmtree(suite.lab.folder)
    print(f"{outcome:8} {name} ({time.monotonic() - start:.1f} s){text}\n{''.join(suite.told)}", end="", flush=True)
    return outcome


def run_cases(suite, names, seed, workers):
    """Several at once: a case mostly waits for programs to start and to end."""
    suites = [suite.for_case(name, seed) for name in names]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        outcomes = list(pool.map(run_case, suites, names))
    for mine in suites:
        suite.lab.add_counts(mine.lab)
    return collections.Counter(outcomes)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--full", action="store_true", help="at least 200 random kills, more draws everywhere")
    parser.add_argument("--seed", type=int, default=None, help="of all draws; default: the time, and told")
    parser.add_argument("--list", action="store_true", help="names of the cases, and end")
    parser.add_argument("--keep", action="store_true", help="keep the folder; a failure always does")
    parser.add_argument("--workers", type=int, default=3, help="cases at once")
    parser.add_argument("--verbose", action="store_true", help="show what the programs say")
    parser.add_argument("--bin", default=ROOT / "build/bin", type=pathlib.Path, help="the programs")
    options = parser.parse_args()
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; --list names them")
    return options


def main():
    options = parse_arguments()
    if options.list:
        print("\n".join(CASES))
        return 0
    seed = options.seed if options.seed is not None else int(time.time())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lsd_faults."))
    folder.chmod(0o755)
    print(f"fault suite ({'full' if options.full else 'short'}), --seed {seed}, in {folder}", flush=True)
    start = time.monotonic()
    lab = Lab(folder, options.bin, seed, options.verbose)
    suite = Suite(lab, options.full)
    suite.keep = options.keep
    outcomes = run_cases(suite, options.cases or list(CASES), seed, options.workers)
    if options.keep or outcomes["failed"]:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    print(f"{outcomes['passed']} cases passed, {outcomes['failed']} failed, {outcomes['skipped']} skipped; "
          f"{lab.kills} kills, {lab.compared} continuations equal to the unfaulted run, {lab.lost} records lost, "
          f"{lab.doubled} doubled; {time.monotonic() - start:.0f} s")
    if Job.launchers_left_behind:
        print(f"mpirun stayed behind its dead ranks {len(Job.launchers_left_behind)} times, and was killed")
    few = options.full and not options.cases and lab.kills < FULL_KILLS
    if few:
        print(f"failed: the full suite promises at least {FULL_KILLS} kills")
    return 1 if outcomes["failed"] or few else 0


if __name__ == "__main__":
    sys.exit(main())
