# SPDX-License-Identifier: Apache-2.0
"""kill -9 of one rank, of all and of the launcher: aimed at each phase of a write, and at random moments. And the signals
that ask a program to stop."""
import signal
import time

from cases import case
from lab import deferred, prove_all, require


def aimed_fault(draw, stage, points):
    """One place, one of the times it is passed, one rank or all."""
    name = draw.choice(sorted(stage.points.keys() & points))
    rank = draw.choice(["@0", "@0", "@1", ""])
    return f"{name}#{draw.randint(1, stage.points[name])}{rank}=kill"


def kill_at_random(lab, stage, out, ranks, seconds):
    """kill -9 at a random moment of the time that an unfaulted run takes. False when it had ended before."""
    job = lab.start(stage.command(out), ranks)
    victims = lab.random.choice(["one", "all", "launcher"] if ranks > 1 else ["one"])
    moment = lab.random.uniform(0.3, 1.05) * seconds
    job.pid(ranks - 1)
    time.sleep(max(0.0, job.started + moment - time.monotonic()))
    if job.process.poll() is not None:
        return job.wait() != 0
    if victims == "launcher":
        job.process.kill()
        job.process.wait()
        job.wait_gone()  # ranks notice by themselves that their launcher is gone
    else:
        job.send(signal.SIGKILL, range(ranks) if victims == "all" else [lab.random.randrange(ranks)])
    return job.wait() != 0


def kill_aimed(lab, stage, out, ranks):
    code, text = lab.run(stage.command(out), ranks, fault=aimed_fault(lab.random, stage, lab.points))
    require(code in (0, -signal.SIGKILL) or "signal 9" in text,
            f"{stage.name}: ended with {code}, but not by the kill:\n{text[-2000:]}")
    return code != 0


def killed_run(suite, stage, ranks, kills):
    """A run killed up to `kills` times, then left alone: equal to one that nobody disturbed."""
    lab = suite.lab
    out = lab.new_folder(stage.name)
    done = 0
    for _ in range(kills):
        aimed = lab.random.random() < 0.6
        hit = kill_aimed(lab, stage, out, ranks) if aimed else kill_at_random(lab, stage, out, ranks, suite.seconds[stage.name])
        if not hit:
            break
        done += 1
    lab.run_well(stage.command(out), ranks)
    stage.prove_equal(lab, out)
    lab.forget(out)
    return done


def random_kills(suite, stage, wanted, ranks=(1, 2, 2)):
    """At least `wanted` kills that hit."""
    done, tries = 0, 0
    while done < wanted:
        tries += 1
        require(tries <= 20 * wanted + 20, f"{stage.name}: {tries} tries and only {done} kills hit")
        done += killed_run(suite, stage, suite.lab.random.choice(ranks), suite.lab.random.randint(1, 3))
    suite.lab.kills += done
    suite.tell(f"{stage.name}: {done} kills")


def told_to_stop(suite, stage, out):
    """A scheduler's or a person's signal, to all ranks at any moment of the work. False when the work was done before."""
    lab = suite.lab
    attempts = lambda: sum(1 for _ in (out / "attempts").glob("*"))
    before = attempts()
    job = lab.start(stage.command(out), 2)
    end = time.monotonic() + 60
    while attempts() == before and job.process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)  # before that, and behind the run's end, a signal ends the process as it ends any
    time.sleep(lab.random.uniform(0.0, 0.2) * suite.seconds[stage.name])  # most of those are start and end
    if job.process.poll() is None:
        job.send(lab.random.choice([signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]), range(2))
    code = job.wait()
    require(code in (0, 75) or (out / "DONE").exists() or (out / "STOPPED").exists(), f"{stage.name}: told to stop, it ended with {code}:\n{job.text()[-2000:]}")
    return code != 0 and not (out / "DONE").exists()


def random_stops(suite, stage, wanted):
    done, tries = 0, 0
    while done < wanted:
        tries += 1
        require(tries <= 10 * wanted, f"{stage.name}: {tries} runs and only {done} were stopped")
        out = suite.lab.new_folder(stage.name)
        for _ in range(suite.lab.random.randint(1, 4)):
            if not told_to_stop(suite, stage, out):
                break
            done += 1
        suite.lab.run_well(stage.command(out), 2)
        stage.prove_equal(suite.lab, out)
        suite.lab.forget(out)
    suite.tell(f"{stage.name}: {done} stops")


@deferred
def killed_at(suite, stage, name):
    """Gives the job, and what is still to be proved when it has ended."""
    lab = suite.lab
    out = lab.new_folder(stage.name)
    job = lab.start(stage.command(out), 2, fault=f"{name}=kill")

    def prove():
        code, text = job.wait(), job.text()
        require(code != 0, f"{stage.name}: nothing was killed at {name}; does the program pass it?\n{text[-2000:]}")
        lab.kills += 1
        lab.run_well(stage.command(out), 2)
        stage.prove_equal(lab, out)
        lab.forget(out)

    return job, prove


def kill_every_phase(suite, stage, names):
    """Each phase once, by the first time that it is passed; four at a time, as survivors wait for the dead a while."""
    for first in range(0, len(names), 4):
        prove_all([killed_at(suite, stage, name) for name in names[first : first + 4]])
    suite.tell(f"{stage.name}: killed at each of {len(names)} phases")


def phases(stage, prefix):
    return [name for name in stage.points if name.startswith(prefix)]


@case
def killed_in_each_phase_of_a_shard_write(suite):
    kill_every_phase(suite, suite.shard, phases(suite.shard, "shard."))


@case
def killed_in_each_phase_of_a_checkpoint_write(suite):
    kill_every_phase(suite, suite.train, phases(suite.train, "checkpoint."))


@case
def killed_in_each_phase_of_a_dump_write(suite):
    kill_every_phase(suite, suite.dump, phases(suite.dump, "dump."))


@case
def killed_in_each_phase_of_a_probe(suite):
    kill_every_phase(suite, suite.probe, phases(suite.probe, "probe."))


@case
def sharding_killed_at_random(suite):
    random_kills(suite, suite.shard, suite.kills(4, 50))


@case
def training_killed_at_random(suite):
    random_kills(suite, suite.train, suite.kills(7, 70), ranks=(2,))


@case
def training_told_to_stop_at_random(suite):
    random_stops(suite, suite.train, suite.kills(5, 30))


@case
def diffusion_training_killed_at_random(suite):
    random_kills(suite, suite.diffusion, suite.kills(3, 30), ranks=(2,))


@case
def dump_killed_at_random(suite):
    random_kills(suite, suite.dump, suite.kills(4, 40))


@case
def probe_killed_at_random(suite):
    random_kills(suite, suite.probe, suite.kills(2, 20))
