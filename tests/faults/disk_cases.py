# SPDX-License-Identifier: Apache-2.0
"""Disks that are full or cannot be written, in every stage that writes."""
import contextlib
import os
import shutil
import signal
import subprocess

from cases import case
from lab import Skipped, require

DISK_BYTES = 80 << 20  # more than the reserve that programs insist on, so that they start


@contextlib.contextmanager
def mounted(target, *options):
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(target)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"cannot mount here ({done.stderr.strip() or 'mount failed'}); needs root")
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=False)


def small_disk(lab, bytes_in_all=DISK_BYTES):
    return mounted(lab.new_folder("disk"), "-t", "tmpfs", "-o", f"size={bytes_in_all}", "tmpfs")


def fill(disk, left):
    """Until `left` bytes are free."""
    with open(disk / "filler", "wb", buffering=0) as filler:
        block = bytes(1 << 16)
        with contextlib.suppress(OSError):
            while True:
                filler.write(block)
        with contextlib.suppress(OSError):
            while True:
                filler.write(bytes(512))
        os.ftruncate(filler.fileno(), max(0, os.fstat(filler.fileno()).st_size - left))


def disk_fills_up(suite, stage, point, left, ranks=2):
    """The disk is full from this point on: the program fails and says so; when there is room, the same command goes on."""
    lab = suite.lab
    with small_disk(lab) as disk:
        out = disk / "out"
        job = lab.start(stage.command(out), ranks, fault=f"{point}@0=stop")
        stopped = job.wait_stopped()
        fill(disk, left)
        job.send(signal.SIGCONT, stopped)
        code, text = job.wait(), job.text()
        if code == 0 and left > 0:  # what was still to be written fitted
            return stage.prove_equal(lab, out)
        require(code != 0, f"{stage.name}: ended well on a full disk ({point}):\n{text[-2000:]}")
        require("No space left" in text or "not enough space" in text or "disk full" in text,
                f"{stage.name}: no clear cause on a full disk ({point}):\n{text[-3000:]}")
        require("signal" not in text.replace("signal handler", ""), f"{stage.name}: a signal ended it:\n{text[-2000:]}")
        (disk / "filler").unlink()
        lab.run_well(stage.command(out), ranks)
        stage.prove_equal(lab, out)


def disk_fills_up_at(suite, stage, points):
    for point in points:
        for left in (0, 4096, 24576) if suite.full else (0,):
            disk_fills_up(suite, stage, point, left)
    suite.tell(f"{stage.name}: full at {', '.join(points)}")


@case
def disk_full_while_sharding(suite):
    disk_fills_up_at(suite, suite.shard, ["shard.begun#2", "shard.rows_written", "shard.all_committed"])


@case
def disk_full_while_training(suite):
    disk_fills_up_at(suite, suite.train, ["train.step_done#5", "checkpoint.begun#2", "checkpoint.tensors_written#2",
                                          "checkpoint.committed#2"])


@case
def checkpoint_fails_in_the_background(suite):
    """The write fails on every rank that writes, while training goes on: one clear error, no hang, nothing lost."""
    lab = suite.lab
    for stage, point in ((suite.train, "checkpoint.tensors_written#3"), (suite.diffusion, "checkpoint.state_written#5")):
        out = lab.new_folder(stage.name)
        code, text = lab.run(stage.command(out), 2, fault=f"{point}=enospc")
        require(code != 0 and "No space left" in text, f"{stage.name}, {point}: ended with {code}:\n{text[-2000:]}")
        require(text.count("No space left") == 1, f"{stage.name}, {point}: told more than once:\n{text[-2000:]}")
        good = stage.checkpoint(out).name
        lab.run_well(["lsd_verify", out / "checkpoints" / good])
        step = 3 * int(point.split("#")[1]) - 3  # a checkpoint every 3 steps; the one that fails is never in force
        require(good.endswith(f"{step:08}"), f"{stage.name}, {point}: {good} is in force, not that of step {step}")
        lab.run_well(stage.command(out), 2)
        stage.prove_equal(lab, out)


@case
def disk_full_while_training_diffusion(suite):
    disk_fills_up_at(suite, suite.diffusion, ["checkpoint.begun#2"])


@case
def disk_full_while_dumping(suite):
    disk_fills_up_at(suite, suite.dump, ["dump.part_begun#2", "dump.part_rows_written", "dump.all_committed"])


@case
def disk_full_while_probing(suite):
    disk_fills_up_at(suite, suite.probe, ["probe.head_trained", "probe.features_ready"])


@case
def disk_full_while_reporting(suite):
    lab = suite.lab
    with small_disk(lab, 1 << 20) as disk:
        (disk / "out").mkdir()
        fill(disk, 4096)
        code, text = lab.run(suite.report.command(disk / "out"))
        require(code == 1 and "No space left" in text, f"report on a full disk ended with {code}:\n{text}")
        (disk / "filler").unlink()
        lab.run_well(suite.report.command(disk / "out"))
        suite.report.prove_equal(lab, disk / "out")


@case
def disk_full_while_importing_esm2(suite):
    disk_fills_up_at(suite, suite.esm2, ["checkpoint.begun", "checkpoint.tensors_written", "checkpoint.committed"])


@case
def disk_full_while_making_synthetic_proteins(suite):
    code, text = suite.lab.run(["lsd_make_synthetic_fasta", "--megabytes=4", "--output=/dev/full"])
    require(code == 1 and "/dev/full" in text and "disk full" in text, f"ended with {code}:\n{text}")


@case
def disk_too_small_is_told_before_the_work(suite):
    with small_disk(suite.lab, 1 << 20) as disk:
        for stage in (suite.shard, suite.train, suite.dump):
            code, text = suite.lab.run(stage.command(disk / stage.name), 2)
            require(code == 1 and "not enough space" in text and str(disk) in text,
                    f"{stage.name} on a disk of 1 MiB ended with {code}:\n{text[-2000:]}")


@case
def read_only_disk(suite):
    lab = suite.lab
    source = lab.new_folder("read_only_source")
    source.mkdir()
    with mounted(lab.new_folder("read_only"), "--bind", str(source)) as disk:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
        for stage in (*suite.stages, suite.esm2, suite.report):
            code, text = lab.run(stage.command(disk / stage.name), 2)
            require(code == 1 and "Read-only file system" in text and str(disk) in text,
                    f"{stage.name} on a read-only disk ended with {code}:\n{text[-2000:]}")
        require(not any(source.iterdir()), "something was written to a read-only disk")


@case
def folder_without_write_permission(suite):
    """As a user to whom permissions apply."""
    lab = suite.lab
    prefix, parent = [], lab.new_folder("forbidden")
    (parent / "tmp").mkdir(parents=True)
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            raise Skipped("root without setpriv")
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        for path in [suite.lab.binaries, *suite.lab.binaries.parents]:
            if path.stat().st_mode & 0o005 != 0o005:
                raise Skipped(f"other users cannot read {path}")
        parent.parent.chmod(0o755)
    parent.chmod(0o555)
    for stage in (*suite.stages, suite.esm2, suite.report):
        code, text = lab.run(stage.command(parent / stage.name), 1, prefix=prefix)
        require(code == 1 and "Permission denied" in text and str(parent) in text,
                f"{stage.name} in a forbidden folder ended with {code}:\n{text[-2000:]}")
    parent.chmod(0o755)


@case
def run_folder_becomes_read_only_between_two_runs(suite):
    """Files are there, nothing can be added: the program says so and harms nothing; made writable again, it goes on."""
    lab = suite.lab
    with small_disk(lab) as disk:
        out = disk / "out"
        code, _ = lab.run(suite.train.command(out), 2, fault="checkpoint.committed#3=kill")
        require(code != 0, "the kill did not hit")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, text = lab.run(suite.train.command(out), 2)
        require(code == 1 and "Read-only file system" in text and str(out) in text, f"ended with {code}:\n{text[-2000:]}")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        lab.run_well(suite.train.command(out), 2)
        suite.train.prove_equal(lab, out)
