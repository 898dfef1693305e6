# SPDX-License-Identifier: Apache-2.0
"""The stages of the pipeline at a size of half a second each: how each is started, and what must be equal behind it."""
import collections
import csv
import gzip
import json
import pathlib

import h5py

from lab import ROOT, checksum, require

TRAINING = ["--threads=1", "--training.steps=24", "--training.log_every=1", "--training.capacity=512",
            "--training.micro_batches=2", "--data.max_length=128", "--optimizer.warmup_steps=5", "--validation.every_steps=8",
            "--model.width=16", "--model.heads=2", "--checkpoint.every_steps=3", "--checkpoint.every_minutes=0",
            "--checkpoint.keep_last=2"]
COMMON_POINTS = {"run.folder_opened": 1, "run.state_written": 1}


def make_inputs(folder):
    """Short proteins of the bundled sample, and a small table of them."""
    fasta, kept = folder / "in.fasta", []
    with gzip.open(ROOT / "data_prep/sample/proteins.fasta.gz", "rt") as sample:
        for record in sample.read().split(">")[1:]:
            head, *lines = record.splitlines()
            if sum(map(len, lines)) <= 90 and len(kept) < 340:
                kept.append(f">{head}\n" + "\n".join(lines) + "\n")
    fasta.write_text("".join(kept))
    with gzip.open(ROOT / "data_prep/sample/deeploc_cls10.csv.gz", "rt") as sample:
        rows = list(csv.reader(sample))
    seen = collections.Counter()
    with open(folder / "task.csv", "w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(rows[0])
        for name, sequence, label, split in rows[1:]:
            seen[split] += 1
            if seen[split] <= 30:
                writer.writerow([name, sequence[:60], label, split])
    return fasta


def ids_of(file):
    with h5py.File(file) as table:
        text, ends = table["id_bytes"][:].tobytes(), table["id_offsets"][:]
        return [text[a:b].decode() for a, b in zip(ends[:-1], ends[1:])]


def count_against(wanted, found):
    """(lost, doubled)"""
    wanted, found = collections.Counter(wanted), collections.Counter(found)
    return sum((wanted - found).values()), sum((found - wanted).values())


class Stage:
    """`points`: places for faults that this stage passes, and how often at least."""
    points = {}

    def __init__(self, name, reference):
        self.name = name
        self.reference = reference  # folder of the unfaulted run

    def command(self, out):
        raise NotImplementedError

    def artefacts(self, out):
        """Name -> checksum of all that must be equal behind equal runs."""
        raise NotImplementedError

    def records(self, out):
        raise NotImplementedError

    def prove_equal(self, lab, out):
        """Against the unfaulted run: bytes, and records counted."""
        lost, doubled = count_against(self.records(self.reference), self.records(out))
        lab.lost += lost
        lab.doubled += doubled
        require(lost == doubled == 0, f"{self.name}: {lost} records lost, {doubled} doubled in {out}")
        wanted, found = self.artefacts(self.reference), self.artefacts(out)
        different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        require(not different, f"{self.name}: differs from the unfaulted run in {', '.join(different)} ({out})")
        # What a killed start had begun to write about itself stays in the folder of its attempt: a few hundred bytes.
        partials = (path.relative_to(out) for path in pathlib.Path(out).rglob("*.partial"))
        leftovers = [str(path) for path in partials if "attempts" not in path.parts]
        require(not leftovers, f"{self.name}: leftovers of killed attempts: {', '.join(leftovers)}")
        lab.compared += 1


class Shard(Stage):
    points = {**COMMON_POINTS, "shard.input_read": 1, "shard.duplicates_dropped": 1, "shard.begun": 4, "shard.rows_written": 4,
              "shard.tables_closed": 4, "shard.committed": 4, "shard.all_committed": 1, "shard.manifest_written": 1,
              "file.opened": 4, "file.written": 4, "file.synced": 6, "file.renamed": 6}

    def __init__(self, reference, fasta):
        super().__init__("shard", reference)
        self.fasta = fasta

    def command(self, out):
        return ["lsd_shard_uniref50", f"--input.files={self.fasta}", f"--output.directory={out}", "--split.valid=0.1",
                "--split.test=0.1", "--shards.records=40"]

    def artefacts(self, out):
        return {path.name: checksum(path) for path in [*pathlib.Path(out).glob("*.h5"), pathlib.Path(out) / "manifest.json"]}

    def records(self, out):
        return [name for path in pathlib.Path(out).glob("*.h5") for name in ids_of(path)]


class Train(Stage):
    points = {**COMMON_POINTS, "checkpoint.begun": 8, "checkpoint.tensors_written": 8, "checkpoint.state_written": 8,
              "checkpoint.committed": 8, "checkpoint.latest_written": 8, "checkpoint.old_removed": 6, "folder.synced": 8,
              "folder.renamed": 8, "file.opened": 18, "file.written": 18, "file.synced": 30, "file.renamed": 18,
              "train.step_done": 24}

    def __init__(self, name, reference, shards, autoencoder=None, dump=None):
        super().__init__(name, reference)
        self.dump = dump  # the diffusion model's stored latents; without, it computes them
        self.shards = shards
        self.autoencoder = autoencoder

    def command(self, out):
        if self.autoencoder is None:
            return ["lsd_train_autoencoder", "--config=configs/demo/nm.cfg", f"--run.directory={out}", f"--data.shards={self.shards}",
                    *TRAINING]
        return ["lsd_train_diffusion", "--config=configs/demo/diffusion_nm.cfg", f"--run.directory={out}",
                f"--data.shards={self.shards}", f"--latents.autoencoder={self.autoencoder}",
                *(["--latents.source=stored", f"--latents.dump={self.dump}"] if self.dump else []), *TRAINING]

    @staticmethod
    def checkpoint(out):
        folder = pathlib.Path(out) / "checkpoints"
        return folder / (folder / "latest").read_text().strip()

    @staticmethod
    def metrics(out):
        lines = [json.loads(line) for line in (pathlib.Path(out) / "metrics.jsonl").read_text().splitlines()]
        return [line for line in lines if line["kind"] in ("train", "validation")]

    def artefacts(self, out):
        found = {path.name: checksum(path) for path in self.checkpoint(out).glob("*.safetensors")}
        for line in self.metrics(out):
            timeless = {key: value for key, value in line.items() if "second" not in key}
            found[f"metrics: {line['kind']} {line['step']}"] = json.dumps(timeless, sort_keys=True)
        return found

    # A record is a step with the tokens seen so far: one seen twice or left out shows in every later one.
    def records(self, out):
        return [f"{line['step']} {line['tokens']}" for line in self.metrics(out) if line["kind"] == "train"]


class Dump(Stage):
    points = {**COMMON_POINTS, "dump.begun": 1, "dump.part_begun": 3, "dump.part_rows_written": 3, "dump.part_closed": 3,
              "dump.part_committed": 3, "dump.all_committed": 1, "dump.manifest_written": 1, "file.opened": 4, "file.written": 4, "file.synced": 5,
              "file.renamed": 5}

    def __init__(self, reference, shards, autoencoder):
        super().__init__("dump", reference)
        self.shards = shards
        self.autoencoder = autoencoder

    def command(self, out):
        return ["lsd_dump_latents", "--config=configs/demo/dump.cfg", "--threads=1", f"--features.autoencoder={self.autoencoder}",
                "--features.capacity=512", f"--input.shards={self.shards}", "--input.split=train", f"--output.directory={out}",
                "--output.tokens_per_part=2048"]

    def artefacts(self, out):
        return {path.name: checksum(path) for path in [*pathlib.Path(out).glob("*.h5"), pathlib.Path(out) / "manifest.json"]}

    def records(self, out):
        return [name for path in sorted(pathlib.Path(out).glob("*.h5")) for name in ids_of(path)]


class Import(Stage):
    """The small ESM-2 of the golden files."""

    def command(self, out):
        return ["lsd_import_esm2", f"--source.directory={ROOT / 'tests/golden/esm2_checkpoints/current'}", f"--output.directory={out}"]

    def artefacts(self, out):
        files = [pathlib.Path(out) / "model.cfg", *pathlib.Path(out).glob("checkpoints/*/*")]
        return {str(path.relative_to(out)): checksum(path) for path in files}

    def records(self, out):
        return [path.name for path in pathlib.Path(out).glob("checkpoints/*")]


class Report(Stage):
    def __init__(self, reference, probe, train):
        super().__init__("report", reference)
        self.probe = probe
        self.train = train

    def command(self, out):
        return ["lsd_report", f"--results={self.probe}", f"--runs={self.train}", f"--directory={out}"]

    def artefacts(self, out):
        return {path.name: checksum(path) for path in pathlib.Path(out).iterdir() if path.is_file()}

    def records(self, out):
        return [path.name for path in pathlib.Path(out).iterdir() if path.is_file()]


class Probe(Stage):
    points = {**COMMON_POINTS, "probe.features_ready": 1, "probe.head_trained": 2, "probe.result_written": 2, "file.opened": 5,
              "file.written": 5, "file.synced": 6, "file.renamed": 6}

    def __init__(self, reference, task, autoencoder):
        super().__init__("probe", reference)
        self.task = task
        self.autoencoder = autoencoder

    def command(self, out):
        return ["lsd_probe", "--config=configs/demo/probe.cfg", "--threads=1", f"--task.file={self.task}",
                "--task.allow_shared_sequences=true", f"--features.autoencoder={self.autoencoder}", "--features.capacity=1024",
                f"--run.directory={out}", "--head.epochs=3", "--head.resamples=50", "--sweep.heads=linear"]

    @staticmethod
    def results(out):
        return [path for path in pathlib.Path(out).glob("*.json") if ".seed" in path.name]

    def artefacts(self, out):
        return {path.name: checksum(path) for path in self.results(out)}

    def records(self, out):
        return [path.name for path in self.results(out)]
