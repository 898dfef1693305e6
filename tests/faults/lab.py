# SPDX-License-Identifier: Apache-2.0
"""Programs started, watched, broken and ended by their own process ids; files compared."""
import functools
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 180  # seconds that any one program may take here; a longer one counts as hanging


class Failed(Exception):
    """A promise of the programs did not hold."""


class Skipped(Exception):
    """This machine cannot show it; the text says why."""


def require(condition, text):
    if not condition:
        raise Failed(text)


def points_passed():
    """Names of the fault points that the sources place."""
    found = set()
    for path in (ROOT / "src").rglob("*.cpp"):
        found.update(re.findall(r'(?:fault|poison)_point\("([a-z_.]+)"\)', path.read_text(encoding="utf-8")))
    return found


def mpi_environment():
    lines = (ROOT / "cmake/mpi.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def state_of(pid):
    """The letter of /proc; "" when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid):
    return state_of(pid) not in ("", "Z", "X")


class Job:
    """One start of a program: alone, or on several ranks under mpirun. Every rank tells its process id in a file."""

    launchers_left_behind = []

    def __init__(self, folder, command, ranks, fault="", environment=None, prefix=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="job.", dir=folder))
        self.ranks = ranks
        self.output = self.folder / "output"
        tell = 'echo $$ >"$0/pid.${OMPI_COMM_WORLD_RANK:-0}.tmp"; mv "$0/pid.${OMPI_COMM_WORLD_RANK:-0}.tmp" ' \
               '"$0/pid.${OMPI_COMM_WORLD_RANK:-0}"; exec "$@"'
        words = ["sh", "-c", tell, str(self.folder), *prefix, *map(str, command)]
        if ranks > 1:
            words = ["mpirun", "-n", str(ranks), *words]
        variables = {**os.environ, **mpi_environment(), **(environment or {})}
        variables.pop("LSD_FAULT", None)
        if fault:
            variables["LSD_FAULT"] = fault
        self.ended = False
        self.started = time.monotonic()
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            env=variables, cwd=ROOT, start_new_session=True)

    def pid(self, rank, wait=30):
        file = self.folder / f"pid.{rank}"
        end = time.monotonic() + wait
        while not file.exists():
            if time.monotonic() > end or self.process.poll() is not None:
                return None
            time.sleep(0.002)
        return int(file.read_text())

    def send(self, number, ranks):
        for rank in ranks:
            pid = self.pid(rank)
            if pid is not None and is_alive(pid):
                os.kill(pid, number)

    def wait_stopped(self, wait=60):
        """Until a rank stands still at a fault `stop`; returns those that do."""
        end = time.monotonic() + wait
        while time.monotonic() < end and self.process.poll() is None:
            stopped = [rank for rank in range(self.ranks) if state_of(self.pid(rank)) == "T"]
            if stopped:
                return stopped
            time.sleep(0.005)
        self.end()
        raise Failed(f"the program never came to the point where it shall stand still:\n{self.text()}")

    def end(self):
        """Nothing of this job is left behind. Once: later its process ids may be those of others."""
        if self.ended:
            return
        self.ended = True
        pids = [int(file.read_text()) for file in self.folder.glob("pid.[0-9]")]
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        end = time.monotonic() + 20
        while any(is_alive(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.01)

    def wait_gone(self, wait=60):
        """Until no rank is left, by itself."""
        pids = [int(file.read_text()) for file in self.folder.glob("pid.[0-9]")]
        end = time.monotonic() + wait
        while any(is_alive(pid) for pid in pids):
            if time.monotonic() > end:
                self.end()
                raise Failed(f"ranks live on {wait} s behind their launcher's end")
            time.sleep(0.01)

    def text(self):
        return self.output.read_text(errors="replace")

    def wait(self, deadline=DEADLINE):
        """Exit code; a job that outlives the deadline is ended and fails the case. A launcher that stays behind when all
        its ranks are dead is Open MPI's fault, not the programs' (seen once in some 200 kills: a rank was killed while
        it connected to mpirun); it is counted, and as good as killed: who must end well still fails."""
        try:
            code = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            states = {file.name: state_of(int(file.read_text())) or "gone" for file in self.folder.glob("pid.[0-9]")}
            self.end()
            if self.ranks == 1 or any(state not in ("gone", "Z", "X") for state in states.values()):
                raise Failed(f"still running after {deadline} s, {states}:\n{self.text()[-2000:]}") from None
            Job.launchers_left_behind.append(self.folder)
            code = -signal.SIGKILL
        self.seconds = time.monotonic() - self.started
        self.end()
        return code


def deferred(start):
    """For what starts a job and gives it with the function that proves its end: nothing runs before prove_all()."""
    @functools.wraps(start)
    def later(*arguments, **options):
        return functools.partial(start, *arguments, **options)
    return later


def prove_all(starters):
    """Of jobs that wait side by side."""
    waiting = []
    try:
        for start in starters:
            waiting.append(start())
        for _, prove in waiting:
            prove()
    finally:
        for job, _ in waiting:
            job.end()


def checksum(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class Lab:
    """A folder for everything, the programs, and the draws."""

    def __init__(self, folder, binaries, seed, verbose=False):
        self.folder = pathlib.Path(folder)
        self.binaries = pathlib.Path(binaries).resolve()
        self.random = random.Random(seed)
        self.verbose = verbose
        self.kills = 0
        self.lost = 0
        self.doubled = 0
        self.compared = 0
        self.points = points_passed()
        self.jobs = self.folder / "jobs"
        self.jobs.mkdir(parents=True)

    def new_folder(self, name):
        return pathlib.Path(tempfile.mkdtemp(prefix=name + ".", dir=self.folder)) / "out"

    def start(self, command, ranks=1, **options):
        for entry in filter(None, options.get("fault", "").split(",")):
            point = re.split("[#@=]", entry)[0]
            if point not in self.points:
                raise Skipped(f"no program passes the point {point}")
        return Job(self.jobs, [self.binaries / command[0], *command[1:]], ranks, **options)

    def run(self, command, ranks=1, deadline=DEADLINE, **options):
        job = self.start(command, ranks, **options)
        code = job.wait(deadline)
        if self.verbose:
            print(job.text())
        return code, job.text()

    def run_well(self, command, ranks=1, **options):
        code, text = self.run(command, ranks, **options)
        require(code == 0, f"{command[0]} ended with {code}:\n{text[-3000:]}")
        return text

    @staticmethod
    def forget(out):
        shutil.rmtree(out.parent)

    def add_counts(self, other):
        self.kills += other.kills
        self.compared += other.compared
        self.lost += other.lost
        self.doubled += other.doubled
