"""Slurm: one job array over the plan, from a batch file that lies beside it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from clbench.errors import UsageError
from clbench.sweeps import sbatch
from clbench.sweeps.engine import Job, Needs, python, settings_of
from clbench.sweeps.home import Home
from clbench.util.atomic import write_atomically

OURS = ("array", "output", "open-mode", "signal", "chdir", "job-name", "dependency")
"""Options that clbench sets itself."""
MEMORY = ("tmpfs", "ramfs", "devtmpfs")
SECONDS = 60
"""How long a command of Slurm may take."""


class Slurm:
    """Submits with ``sbatch``; asks ``squeue`` what is left. No package is needed."""

    stays = False

    def __init__(self, text: str) -> None:
        """Read settings.

        Args:
            text: options of ``sbatch`` (``partition=gpu,time=04:00:00,gres=gpu:1``), passed through
                as they are, beside ``lead=SECONDS`` (how long before the limit a run is warned) and
                ``python=COMMAND`` (what runs ``-m clbench`` on the nodes).

        Raises:
            UsageError: it sets what clbench sets.
        """
        self.given = settings_of(text, "slurm")
        wrong = [key for key in self.given if key in OURS]
        if wrong:
            raise UsageError(f"--on slurm:{text}: {wrong[0]} is set by clbench; leave it out")
        lead = self.given.get("lead", "1")
        if lead is None or not (lead.isascii() and lead.isdigit()):
            raise UsageError(f"--on slurm:{text}: lead must be whole seconds, such as lead=120")
        self.python = self.given.pop("python", None) or shlex.quote(python())

    def open(self) -> None:
        """Refuse a machine without ``sbatch``."""
        if shutil.which("sbatch") is None:
            raise UsageError(
                "--on slurm: there is no sbatch here; run this on a login node, or write the file "
                "with --script"
            )

    def check(self, home: Home, n_jobs: int, needs: Needs) -> None:
        """Refuse a folder in memory that other nodes cannot see, and an array that is too long."""
        here = socket.gethostname().partition(".")[0]
        nodes = {n.partition(".")[0] for n in _ask("sinfo", "-h", "-N", "-o", "%n").split()}
        if nodes - {here} and (kind := _file_system(home.out)) in MEMORY:
            raise UsageError(
                f"--out {home.out}: lies in this machine's memory ({kind}), which no node sees; "
                "give a shared folder"
            )
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"))
        if found and n_jobs > int(found[1]):
            per_job = -(-n_jobs * needs.per_job // int(found[1]))
            raise UsageError(
                f"--on slurm: an array of {n_jobs:,} jobs is more than this cluster takes "
                f"({int(found[1]):,}); --per-job {per_job} makes it short enough"
            )

    def queued(self, home: Home) -> set[int]:
        """Lines whose jobs ``squeue`` shows."""
        found: set[int] = set()
        for past in home.submissions("slurm"):
            size = int(past["per_job"])
            for number in self._tasks(str(past["id"])):
                found.update(range(number * size, (number + 1) * size))
        return found

    def write(
        self, home: Home, jobs: Sequence[Job], n_runs: int, needs: Needs
    ) -> tuple[Path, Path]:
        """Write the files of the array and of its table."""
        paths = home.folder / "array.sbatch", home.folder / "table.sbatch"
        array = sbatch.array(home, jobs, n_runs, needs, self.given, self.python)
        table = sbatch.table(home, needs, self.given, self.python)
        for path, text in zip(paths, (array, table), strict=True):
            write_atomically(path, text.encode())
        return paths

    def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
        """Submit the array, and the job of its table after it."""
        n_runs = len(home.plan.read_bytes().splitlines())
        array, table = self.write(home, jobs, n_runs, needs)
        number = _sbatch(str(array))
        home.note_submission("slurm", id=number, per_job=needs.per_job, jobs=len(jobs))
        if home.is_verification:  # its table is the board's page
            return f"array {number}; logs are in {home.logs}"
        _sbatch(f"--dependency=afterany:{number}", str(table))
        return f"array {number}; its table will be in {table.with_suffix('.txt')}"

    def left(self, home: Home) -> int:
        """Jobs of the arrays that ``squeue`` shows."""
        return sum(len(self._tasks(str(past["id"]))) for past in home.submissions("slurm"))

    def close(self) -> None:
        """Do nothing: jobs go on."""

    def _tasks(self, number: str) -> list[int]:
        """Tasks of an array that wait or run; none once Slurm has forgotten it."""
        rows = _ask("squeue", "-h", "-r", "-j", number, "-o", "%K").split()
        return [int(row) for row in rows if row.isdigit()]


def _sbatch(*words: str) -> str:
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", *words], capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--on slurm: sbatch does not answer ({error})") from error
    number = done.stdout.strip().partition(";")[0]
    if done.returncode != 0 or not number.isdigit():
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise UsageError(f"--on slurm: sbatch refuses: {said[:300]}")
    return number


def _ask(*words: str) -> str:
    """What a command of Slurm prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _file_system(path: Path) -> str:
    """The type of the file system that a folder lies in, where the system says so."""
    best, kind = "", ""
    try:
        rows = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    for row in rows:
        _, mount, name, *_ = row.split()
        if (real + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best):
            best, kind = mount, name
    return kind
