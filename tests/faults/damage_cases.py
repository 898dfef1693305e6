# SPDX-License-Identifier: Apache-2.0
"""Truncated and bit-flipped files. Whatever reads them either fails and names the file, or gives what an undamaged file
gives (a bit in padding, a file mended, an older checkpoint taken): never something else."""
import re
import shutil

import h5py

from cases import case
from lab import Failed, require


def flip_bit(lab, path):
    data = bytearray(path.read_bytes())
    at = lab.random.randrange(len(data))
    bit = lab.random.randrange(8)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    return f"{path.name}: bit {bit} of byte {at} of {len(data)} flipped"


def truncate(lab, path):
    data = path.read_bytes()
    left = lab.random.randrange(len(data))
    path.write_bytes(data[:left])
    return f"{path.name}: {left} of {len(data)} bytes left"


def by_turns(suite, short, full):
    """Truncations and flips, flips twice as often."""
    return [[flip_bit, truncate, flip_bit][i % 3] for i in range(suite.kills(short, full))]


def fails_or_equals(suite, stage, out, path, what):
    """Runs the stage. True when it refused the damaged file."""
    code, text = suite.lab.run(stage.command(out), 2)
    if code == 0:
        try:
            stage.prove_equal(suite.lab, out)
        except Failed as problem:
            raise Failed(f"{what}: nobody noticed, and then: {problem}") from None
        return False
    require(code == 1 and path.name in text and "signal" not in text,
            f"{what}: {stage.name} ended with {code}, without naming the file:\n{text[-3000:]}")
    return True


def verifier_notices(suite, folder, path, what):
    """lsd_verify must find every damage."""
    code, text = suite.lab.run(["lsd_verify", str(folder)], 1)
    require(code == 1 and path.name in text, f"{what}: lsd_verify ended with {code}:\n{text[-2000:]}")


def with_damage(suite, stage, artefact, files, turns):
    """Each turn: a fresh copy of `artefact`, one of its files damaged; the verifier, and a stage that reads it."""
    lab = suite.lab
    refused = 0
    for damage in turns:
        copy = lab.new_folder("damaged")
        shutil.copytree(artefact, copy)
        path = lab.random.choice(sorted(file for pattern in files for file in copy.glob(pattern)))
        what = damage(lab, path)
        verifier_notices(suite, copy, path, what)
        out = lab.new_folder("reader")
        refused += fails_or_equals(suite, stage(copy), out, path, what)
        lab.forget(copy)
        lab.forget(out)
    suite.tell(f"{len(turns)} damages, {refused} refused, the others without effect")


def damage_is_placed(suite, table):
    """A bit among the rows of a table: the error says in which file, which table and of which records."""
    lab = suite.lab
    copy = lab.new_folder("damaged")
    shutil.copytree(suite.shard.reference, copy)
    path = lab.random.choice(sorted(copy.glob("train-*.h5")))
    with h5py.File(path) as file:
        place, size = file[table].id.get_offset(), file[table].id.get_storage_size()
    data = bytearray(path.read_bytes())
    data[place + lab.random.randrange(size)] ^= 1 << lab.random.randrange(8)
    path.write_bytes(data)
    code, text = lab.run(suite.train_on(copy).command(lab.new_folder("train")), 2)
    placed = re.search(rf"/{path.name}: block \d+ of the table '{table}' \(its bytes \d+ to \d+; .*records? \d+.*\) is damaged", text)
    require(code == 1 and placed, f"{path.name}: a bit flipped in '{table}' of {size} bytes: ended with {code}:\n{text[-2000:]}")


@case
def damaged_shard(suite):
    with_damage(suite, suite.train_on, suite.shard.reference, ["train-*.h5", "valid-*.h5"], by_turns(suite, 5, 60))
    damage_is_placed(suite, "tokens")
    damage_is_placed(suite, "offsets")


@case
def damaged_shard_manifest(suite):
    with_damage(suite, suite.train_on, suite.shard.reference, ["manifest.json"], by_turns(suite, 3, 40))


@case
def damaged_dump(suite):
    with_damage(suite, suite.diffusion_on_dump, suite.dump.reference, ["*.h5"], by_turns(suite, 5, 60))


@case
def damaged_dump_manifest(suite):
    with_damage(suite, suite.diffusion_on_dump, suite.dump.reference, ["manifest.json"], by_turns(suite, 3, 40))


@case
def damaged_checkpoint_of_a_model_in_use(suite):
    with_damage(suite, suite.dump_of, suite.train.reference, ["checkpoints/checkpoint-*24/*"], by_turns(suite, 3, 40))


def killed_training(suite):
    out = suite.lab.new_folder("train")
    code, text = suite.lab.run(suite.train.command(out), 2, fault="checkpoint.begun#4=kill")
    require(code != 0, f"the kill did not hit:\n{text[-2000:]}")
    return out


@case
def damaged_newest_checkpoint(suite):
    """Resuming takes the one before it, says so, and ends equal."""
    lab = suite.lab
    for damage in by_turns(suite, 3, 40):
        out = killed_training(suite)
        newest = suite.train.checkpoint(out)
        path = lab.random.choice(sorted(newest.iterdir()))
        what = damage(lab, path)
        text = lab.run_well(suite.train.command(out), 2)
        require(path.name in text, f"{what}: resumed without a word of it:\n{text[-2000:]}")
        suite.train.prove_equal(lab, out)
        lab.forget(out)


@case
def damaged_latest_pointer(suite):
    lab = suite.lab
    for damage in [truncate, flip_bit, *by_turns(suite, 0, 12)]:
        out = killed_training(suite)
        what = damage(lab, out / "checkpoints/latest")
        code, text = lab.run(suite.train.command(out), 2)
        require(code == 0, f"{what}: ended with {code}:\n{text[-2000:]}")
        suite.train.prove_equal(lab, out)
        lab.forget(out)


@case
def all_checkpoints_damaged(suite):
    """Never begun anew without a word: the work of days may be in there."""
    lab = suite.lab
    out = killed_training(suite)
    files = sorted(out.glob("checkpoints/checkpoint-*/model*.safetensors"))
    for path in files:
        truncate(lab, path)
    code, text = lab.run(suite.train.command(out), 2)
    require(code == 1 and "no checkpoint" in text and files[0].name in text, f"ended with {code}:\n{text[-2000:]}")


def unfinished_dump(suite):
    out = suite.lab.new_folder("dump")
    code, text = suite.lab.run(suite.dump.command(out), 2, fault="dump.all_committed=kill")
    require(code != 0, f"the kill did not hit:\n{text[-2000:]}")
    return out


@case
def damaged_part_of_an_unfinished_dump(suite):
    """The same command makes the damaged part again, no other, and ends equal."""
    lab = suite.lab
    for damage in by_turns(suite, 3, 40):
        out = unfinished_dump(suite)
        path = lab.random.choice(sorted(out.glob("part-*.h5")))
        what = damage(lab, path)
        text = lab.run_well(suite.dump.command(out), 2)
        try:
            suite.dump.prove_equal(lab, out)
        except Failed as problem:
            raise Failed(f"{what}: {problem}\n{text[-2000:]}") from None
        lab.forget(out)


@case
def lost_part_of_a_finished_dump(suite):
    lab = suite.lab
    out = lab.new_folder("dump")
    shutil.copytree(suite.dump.reference, out)
    lab.random.choice(sorted(out.glob("part-*.h5"))).unlink()
    code, text = lab.run(suite.diffusion_on_dump(out).command(lab.new_folder("diffusion")), 2)
    require(code == 1 and "part-" in text, f"reading a dump with a hole ended with {code}:\n{text[-2000:]}")
    lab.run_well(suite.dump.command(out), 2)
    suite.dump.prove_equal(lab, out)


@case
def lost_shard_of_a_finished_set(suite):
    lab = suite.lab
    out = lab.new_folder("shard")
    shutil.copytree(suite.shard.reference, out)
    victim = lab.random.choice(sorted(out.glob("*.h5")))
    victim.unlink()
    code, text = lab.run(suite.train_on(out).command(lab.new_folder("train")), 2)
    require(code == 1 and victim.name in text, f"reading a set with a hole ended with {code}:\n{text[-2000:]}")
    lab.run_well(suite.shard.command(out), 2)
    suite.shard.prove_equal(lab, out)


@case
def torn_metrics_line(suite):
    """Killed while a line was written: the resumed run writes it again."""
    lab = suite.lab
    out = killed_training(suite)
    metrics = out / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-7])
    lab.run_well(suite.train.command(out), 2)
    suite.train.prove_equal(lab, out)
