# SPDX-License-Identifier: Apache-2.0
"""Ranks that compute nonsense, fall silent or leave; two jobs on one folder; clocks that jump."""
import copy
import glob
import platform
import re
import shutil
import signal
import time

from cases import case
from lab import Skipped, checksum, deferred, prove_all, require


@case
def nan_gradient_on_one_rank(suite):
    """The step is skipped by all ranks alike, told, and remembered through a kill."""
    lab = suite.lab
    outs = {}
    for rank in (0, 1):
        outs[rank] = lab.new_folder("train")
        code, text = lab.run(suite.train.command(outs[rank]), 2, fault=f"train.gradients#5@{rank}=poison")
        require(code == 0 and "not finite" in text, f"a NaN on rank {rank}: ended with {code}:\n{text[-2000:]}")
    outs["killed"] = lab.new_folder("train")
    code, _ = lab.run(suite.train.command(outs["killed"]), 2, fault="train.gradients#5@1=poison,checkpoint.begun#6=kill")
    require(code != 0, "the kill did not hit")
    lab.run_well(suite.train.command(outs["killed"]), 2)
    wanted = suite.train.artefacts(outs[0])
    for name in (1, "killed"):
        require(suite.train.artefacts(outs[name]) == wanted, f"a NaN on one rank: run '{name}' differs from that on rank 0")
        lab.compared += 1
    lines = [line for line in suite.train.metrics(outs[0]) if line["kind"] == "train"]
    require([line["step"] for line in lines] == list(range(1, 25)), "steps are missing behind a skipped one")


@case
def nan_gradient_in_every_step(suite):
    """Skipping does not go on for ever."""
    faults = ",".join(f"train.gradients#{step}@1=poison" for step in range(1, 41))
    code, text = suite.lab.run(suite.train.command(suite.lab.new_folder("train")), 2, fault=faults)
    require(code == 1 and "in a row" in text, f"ended with {code}:\n{text[-2000:]}")


def deadline_option(lab, program):
    found = re.search(r"--[\w.-]*(deadline|collective[-_]timeout)[\w.-]*", lab.run_well([program, "--help"]))
    if found is None:
        raise Skipped(f"{program} has no option for the deadline of its collectives (half an hour by default)")
    return f"{found.group(0)}=5"


@deferred
def silent_rank(suite, stage, point, words=()):
    """One rank stands still. The others end the job within the deadline and name what they waited in, and these words.
    Gives the job, and what is still to be proved when it has ended."""
    lab = suite.lab
    out = lab.new_folder(stage.name)
    command = stage.command(out)
    job = lab.start([*command, deadline_option(lab, command[0])], 2, fault=f"{point}@1=stop")
    job.wait_stopped()
    start = time.monotonic()

    def prove():
        code, text = job.wait(60), job.text()
        told = " ".join(text.split())
        for part in ("rank 0 of 2 gave up in ", "within the deadline of 5 s", *words):
            require(code != 0 and part in told,
                    f"{stage.name}, rank 1 silent at {point}: ended with {code}, '{part}' is not in:\n{text[-2000:]}")
        require((out / "STOPPED").exists(), f"{stage.name}, rank 1 silent at {point}: its folder is not STOPPED")
        suite.tell(f"{stage.name}, {point}: ended after {job.started + job.seconds - start:.1f} s")
        lab.run_well(stage.command(out), 2)
        stage.prove_equal(lab, out)

    return job, prove


@case
def rank_stops_answering(suite):
    by_name = f"longest silent: rank 1 on {platform.node()} (pid "
    prove_all([silent_rank(suite, suite.train, "train.step_done#5", ["all ranks took part in step 5", by_name]),
               silent_rank(suite, suite.diffusion, "train.step_done#7", ["all ranks took part in step 7", by_name]),
               silent_rank(suite, suite.shard, "shard.begun#2", [by_name]),
               silent_rank(suite, suite.dump, "dump.part_begun#2", [by_name]),
               silent_rank(suite, suite.probe, "probe.head_trained#2", [by_name])])


WATCHDOG_SECONDS = 20  # more than any step here takes, however loaded the machine is


@deferred
def stuck_rank(suite, stage, fault, phase, ranks=1):
    """A thread of one rank never comes back: the process ends itself and says what it was at. As silent_rank()."""
    lab = suite.lab
    out = lab.new_folder(stage.name)
    job = lab.start([*stage.command(out), f"--watchdog-timeout={WATCHDOG_SECONDS}"], ranks, fault=f"{fault}=stall")

    def prove():
        code, text = job.wait(), job.text()
        told = [line for line in text.splitlines() if "made no progress for" in line]
        require(code != 0 and told, f"{stage.name}, stuck at {fault}: ended with {code}:\n{text[-2000:]}")
        for part in (f"rank {'0 of 1' if ranks == 1 else ''}", " on ", "(pid ", "step ", phase):
            require(part in told[0], f"{stage.name}, stuck at {fault}: '{part}' is not in: {told[0]}")
        if ranks == 1:
            require(code == 1, f"{stage.name}, stuck at {fault}: ended with {code}")
        lab.run_well(stage.command(out), ranks)
        stage.prove_equal(lab, out)

    return job, prove


def alone(suite, stage):
    """The stage as it goes on one rank: sums over ranks round differently."""
    one = copy.copy(stage)
    one.reference = suite.lab.new_folder(f"{stage.name}_alone")
    suite.lab.run_well(stage.command(one.reference))
    return one


@case
def rank_is_stuck(suite):
    train = alone(suite, suite.train)
    diffusion = alone(suite, suite.diffusion)
    prove_all([stuck_rank(suite, train, "train.step_done#5", "step 5 (end of the step)"),
               stuck_rank(suite, train, "checkpoint.begun#2", "(checkpoint)"),  # its writer: the next checkpoint waits for it
               stuck_rank(suite, suite.train, "train.step_done#5@1", "", ranks=2),
               stuck_rank(suite, diffusion, "train.validated#2", "step 16 (validation)")])
    prove_all([stuck_rank(suite, suite.shard, "shard.rows_written#3", "step 3 (shards)"),
               stuck_rank(suite, suite.dump, "dump.part_begun#2", "(parts of the dump)"),
               stuck_rank(suite, suite.probe, "probe.features_ready", "(features of a probe)"),
               stuck_rank(suite, suite.probe, "probe.result_written#2", "step 2 (heads of a probe)")])


@case
def rank_leaves_without_a_word(suite):
    lab = suite.lab
    for stage, point in ((suite.train, "train.step_done#5@1"), (suite.shard, "shard.begun#2@1"), (suite.dump, "dump.part_begun#2@1")):
        out = lab.new_folder(stage.name)
        code, text = lab.run(stage.command(out), 2, fault=f"{point}=exit")
        require(code != 0, f"{stage.name}: a rank left and the job ended well:\n{text[-2000:]}")
        lab.run_well(stage.command(out), 2)
        stage.prove_equal(lab, out)


def files_in(out):
    """Beside attempts/, where each start keeps a folder of its own."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and "attempts" not in path.relative_to(out).parts)
    return {str(path.relative_to(out)): checksum(path) for path in files}


@deferred
def superseded(suite, stage, point):
    """A job stands still, as on a node cut off; another one is started on its folder; then the first goes on.
    As silent_rank()."""
    lab = suite.lab
    out = lab.new_folder(stage.name)
    first = lab.start(stage.command(out), 2, fault=f"{point}@0=stop")
    stopped = first.wait_stopped()
    lab.run_well(stage.command(out), 2)
    stage.prove_equal(lab, out)
    left = files_in(out)
    first.send(signal.SIGCONT, stopped)

    def prove():
        code, text = first.wait(), first.text()
        require(code == 1 and "superseded" in text,
                f"{stage.name}, {point}: the older job ended with {code}:\n{text[-2000:]}")
        found = files_in(out)
        changed = sorted(name for name in left.keys() | found.keys() if left.get(name) != found.get(name))
        require("DONE" in left and not changed, f"{stage.name}, {point}: the older job changed {', '.join(changed)}")
        lab.run_well(stage.command(out), 2)
        stage.prove_equal(lab, out)

    return first, prove


@case
def older_job_comes_back(suite):
    prove_all([
        superseded(suite, suite.train, "checkpoint.begun#2"),
        superseded(suite, suite.train, "checkpoint.state_written#2"),
        superseded(suite, suite.shard, "shard.rows_written#2"),
        superseded(suite, suite.shard, "shard.all_committed"),
        superseded(suite, suite.dump, "dump.part_rows_written#2"),
        superseded(suite, suite.dump, "dump.all_committed"),
        superseded(suite, suite.probe, "dump.part_rows_written"),  # of the means in its cache
        superseded(suite, suite.probe, "probe.head_trained"),
        superseded(suite, suite.probe, "probe.result_written#2"),
    ])


@case
def two_jobs_on_one_run_directory(suite):
    """At once: whatever becomes of each, one that ends badly says why, and the folder ends equal."""
    lab = suite.lab
    for stage in (suite.shard, suite.train, suite.dump, suite.probe):
        for _ in range(suite.kills(1, 5)):
            out = lab.new_folder(stage.name)
            first = lab.start(stage.command(out), 2)
            time.sleep(lab.random.uniform(0, suite.seconds[stage.name]))
            second = lab.start(stage.command(out), 2)
            for name, job in (("first", first), ("second", second)):
                code, text = job.wait(), job.text()
                require(code == 0 or (code == 1 and ("superseded" in text or "another" in text)),
                        f"{stage.name}: the {name} of two jobs ended with {code}:\n{text[-2000:]}")
            lab.run_well(stage.command(out), 2)
            stage.prove_equal(lab, out)


def faketime_environment(folder):
    libraries = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not libraries:
        raise Skipped("libfaketime is not installed (apt-get install faketime)")
    clock = folder / "clock"
    clock.write_text("+0")
    return clock, {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
                   "FAKETIME_DONT_RESET": "1", "LAB_PRELOAD": libraries[0]}


def clock_jump(suite, stage, point, jump, killed):
    """The clock jumps while the program stands still; then it goes on, or is killed and started again behind the jump."""
    lab = suite.lab
    folder = lab.new_folder("clock")
    folder.mkdir()
    clock, environment = faketime_environment(folder)
    prefix = ["env", f"LD_PRELOAD={environment.pop('LAB_PRELOAD')}"]
    out = lab.new_folder(stage.name)
    job = lab.start(stage.command(out), 2, fault=f"{point}@0=stop", environment=environment, prefix=prefix)
    stopped = job.wait_stopped()
    clock.write_text(jump)
    job.send(signal.SIGKILL if killed else signal.SIGCONT, range(2) if killed else stopped)
    code, text = job.wait(), job.text()
    if killed:
        lab.kills += 1
        code, more = lab.run(stage.command(out), 2, environment=environment, prefix=prefix)
        text += more
    require(code == 0, f"{stage.name}: the clock jumped by {jump}, and it ended with {code}:\n{text[-2000:]}")
    stage.prove_equal(lab, out)
    days = {line[:10] for line in text.splitlines() if line[:4].isdigit()}
    require(len(days) > 1, f"the clock did not jump:\n{text[-2000:]}")
    lab.forget(out)
    shutil.rmtree(folder)


@case
def clock_jumps(suite):
    """A day ahead and a day back, in the middle of every stage and of a report; for the stages also one of both with a kill."""
    for stage, point in ((suite.shard, "shard.begun#2"), (suite.train, "checkpoint.begun#2"), (suite.dump, "dump.part_begun#2"),
                         (suite.diffusion, "checkpoint.begun#2"), (suite.probe, "probe.head_trained"),
                         (suite.report, "file.opened#2")):
        for jump in ("+1d", "-1d"):
            clock_jump(suite, stage, point, jump, killed=False)
        if stage in suite.stages:
            clock_jump(suite, stage, point, suite.lab.random.choice(["+1d", "-1d"]), killed=True)
