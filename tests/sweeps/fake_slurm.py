"""A small Slurm on this machine: sbatch, squeue, sacct, scancel, scontrol, sinfo and srun on PATH.

It has job arrays with a throttle, time limits, a signal to the batch shell ahead of them, dependencies,
requeueing by hand and after the loss of a node (a batch shell that dies of SIGKILL). Its state is files
below ``$FAKE_SLURM``; each submission has a process that runs its tasks. Times are those that were
asked for, to the second, where Slurm rounds to minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

TOOLS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "srun")
ROOT = Path(os.environ.get("FAKE_SLURM", "."))
ACTIVE = ("PENDING", "RUNNING")
KILL_WAIT = 3.0


def install(folder: Path, **config: object) -> dict[str, str]:
    """Write the commands and their state below a folder; returns the variables to set.

    Args:
        folder: new.
        config: ``nodes``, ``max_array``, ``partitions``, ``at_once``.
    """
    commands, state = folder / "bin", folder / "state"
    commands.mkdir(parents=True)
    state.mkdir()
    (state / "config.json").write_text(json.dumps(config))
    for tool in TOOLS:
        path = commands / tool
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" {tool} "$@"\n')
        path.chmod(0o755)
    return {
        "FAKE_SLURM": str(state),
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
    }


def config() -> dict[str, object]:
    found: dict[str, object] = json.loads((ROOT / "config.json").read_text())
    return found


def options_of(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """``--key=value`` and ``--key`` words, and the rest."""
    given = {w[2:].partition("=")[0]: w[2:].partition("=")[2] for w in words if w.startswith("--")}
    return given, [w for w in words if not w.startswith("-")]


def sbatch(words: list[str]) -> int:
    given, [script] = options_of(words)
    inside: list[str] = []
    for row in Path(script).read_text().splitlines():
        if row.startswith("#SBATCH "):
            word = row.removeprefix("#SBATCH ").strip().replace("'", "")
            inside.append(word)
    options = {**options_of(inside)[0], **given}
    there = config().get("partitions")
    if there is not None and options.get("partition") not in there:  # type: ignore[operator]
        sys.stderr.write("sbatch: error: invalid partition specified\n")
        return 1
    spec, _, throttle = options.get("array", "").partition("%")
    tasks = tasks_of(spec)
    if tasks and max(tasks) >= int(config().get("max_array", 1001)):  # type: ignore[call-overload]
        sys.stderr.write("sbatch: error: Invalid job array specification\n")
        return 1
    number = 1
    while True:
        with suppress(FileExistsError):
            (ROOT / str(number)).mkdir()
            break
        number += 1
    job = ROOT / str(number)
    (job / "script").write_bytes(Path(script).read_bytes())
    what = {"options": options, "tasks": tasks or [-1], "throttle": throttle or "9999"}
    for task in tasks or [-1]:
        note(job, task, "PENDING", 0)
    write(job / "job.json", what)
    with (ROOT / "control.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-S", __file__, "control", str(number)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    print(number if "parsable" in options else f"Submitted batch job {number}")
    return 0


def tasks_of(spec: str) -> list[int]:
    found: list[int] = []
    for part in spec.split(",") if spec else ():
        a, _, b = part.partition("-")
        found += range(int(a), int(b or a) + 1)
    return found


def write(path: Path, what: object) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(what))
    part.replace(path)


def note(job: Path, task: int, state: str, restarts: int) -> None:
    write(job / f"{task}.json", {"state": state, "restarts": restarts})


def states(job: Path) -> dict[int, str]:
    return {
        int(path.stem): json.loads(path.read_text())["state"]
        for path in sorted(job.glob("*.json"), key=lambda path: path.stem.zfill(9))
        if path.stem.lstrip("-").isdigit()
    }


def seconds_of(text: str) -> float:
    """``MM:SS``, ``HH:MM:SS`` or minutes."""
    parts = [int(part) for part in text.split(":")]
    if len(parts) == 1:
        return parts[0] * 60
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


class Task:
    """A batch shell and the processes below it."""

    def __init__(self, job: Path, number: int, options: dict[str, str], restarts: int) -> None:
        self.job, self.number, self.restarts = job, number, restarts
        limit = options.get("time")
        self.end = time.monotonic() + (seconds_of(limit) if limit else 1e9)
        ahead = re.fullmatch(r"B:USR1@(\d+)", options.get("signal", ""))
        self.warn_at = self.end - int(ahead[1]) if ahead else 1e18
        self.asked = self.ended_by = ""
        array = {"SLURM_ARRAY_JOB_ID": job.name, "SLURM_ARRAY_TASK_ID": str(number)}
        env = {**os.environ, "SLURM_JOB_ID": job.name, **(array if number >= 0 else {})}
        output = options.get("output", "/dev/null").replace("%A", job.name).replace("%j", job.name)
        with open(output.replace("%a", str(number)).replace("%t", "0"), "ab") as log:
            self.process = subprocess.Popen(
                ["bash", str(job / "script")],
                env={**env, "SLURM_RESTART_COUNT": str(restarts)}, cwd=options.get("chdir", "/"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        (job / f"{number}.pid").write_text(str(self.process.pid))
        note(job, number, "RUNNING", restarts)

    def kill(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def poll(self) -> str | None:
        """The state in which it ended; None: it runs."""
        now = time.monotonic()
        if self.process.poll() is not None:
            self.kill(signal.SIGKILL)  # whatever it left behind
            if self.taken("requeue") or self.asked == "requeue":
                return "REQUEUED"
            if self.asked:
                return self.asked
            if self.process.returncode == -signal.SIGKILL:
                return "NODE_FAIL"
            return "COMPLETED" if self.process.returncode == 0 else "FAILED"
        if now >= self.warn_at:
            self.warn_at = 1e18
            os.kill(self.process.pid, signal.SIGUSR1)
        for word, state in (("requeue", "requeue"), ("cancel", "CANCELLED")):
            if self.taken(word):
                self.ask(state)
        if now >= self.end and self.asked in ("", "TIMEOUT"):
            self.ask("TIMEOUT")
        return None

    def taken(self, word: str) -> bool:
        try:
            (self.job / f"{self.number}.{word}").unlink()
        except FileNotFoundError:
            return False
        return True

    def ask(self, state: str) -> None:
        """SIGTERM, and SIGKILL after a while."""
        first, self.asked = not self.asked, state
        self.kill(signal.SIGTERM if first else signal.SIGKILL)
        self.end = time.monotonic() + KILL_WAIT


def control(words: list[str]) -> int:
    """Run the tasks of a submission."""
    job = ROOT / words[0]
    what = json.loads((job / "job.json").read_text())
    options = what["options"]
    at_once = min(int(what["throttle"]), int(config().get("at_once", 2)))  # type: ignore[call-overload]
    after = options.get("dependency", "").rpartition(":")[2]
    while after and not (ROOT / after / "done").exists():
        time.sleep(0.05)
    waiting = [(task, 0) for task in what["tasks"]]
    running: list[Task] = []
    while waiting or running:
        for task, restarts in list(waiting):
            if (job / f"{task}.cancel").exists():
                waiting.remove((task, restarts))
                note(job, task, "CANCELLED", restarts)
        while waiting and len(running) < at_once:
            running.append(Task(job, waiting[0][0], options, waiting[0][1]))
            waiting.pop(0)
        for one in list(running):
            state = one.poll()
            if state is None:
                continue
            running.remove(one)
            sys.stderr.write(f"{job.name}_{one.number}: {state}, {one.process.returncode}\n")
            sys.stderr.flush()
            again = state == "REQUEUED" or (state == "NODE_FAIL" and "requeue" in options)
            note(job, one.number, "PENDING" if again else state, one.restarts + again)
            if again:
                waiting.append((one.number, one.restarts + 1))
        time.sleep(0.05)
    (job / "done").touch()
    return 0


def squeue(words: list[str]) -> int:
    number = words[words.index("-j") + 1]
    if not (ROOT / number).is_dir():
        sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
        return 1
    for task, state in states(ROOT / number).items():
        if state in ACTIVE:
            print(words[words.index("-o") + 1].replace("%K", str(task)).replace("%T", state))
    return 0


def sacct(words: list[str]) -> int:
    print("JobID|State|NodeList")
    for number in (words[i + 1] for i, word in enumerate(words) if word == "-j"):
        for task, state in states(ROOT / number.partition("_")[0]).items():
            print(f"{number.partition('_')[0]}{'' if task < 0 else f'_{task}'}|{state}|here")
    return 0


def ask(words: list[str], what: str) -> int:
    """Leave a wish for the process of a submission."""
    number, _, task = words[-1].partition("_")
    for one in [int(task)] if task else states(ROOT / number):
        (ROOT / number / f"{one}.{what}").touch()
    return 0


def scontrol(words: list[str]) -> int:
    if words[0] == "requeue":
        return ask(words, "requeue")
    print(f"MaxArraySize            = {config().get('max_array', 1001)}")
    return 0


def sinfo(words: list[str]) -> int:
    print("\n".join(config().get("nodes", [os.uname().nodename])))  # type: ignore[call-overload]
    return 0


def srun(words: list[str]) -> int:
    while words and words[0].startswith("-"):
        words = words[1 if "=" in words[0] or words[0] == "--unbuffered" else 2 :]
    os.execvp(words[0], words)


def main() -> int:
    tool, words = sys.argv[1], sys.argv[2:]
    if tool == "scancel":
        return ask(words, "cancel")
    call = {
        **{"sbatch": sbatch, "squeue": squeue, "sacct": sacct, "scontrol": scontrol},
        **{"sinfo": sinfo, "srun": srun, "control": control},
    }[tool]
    return call(words)


if __name__ == "__main__":
    sys.exit(main())
