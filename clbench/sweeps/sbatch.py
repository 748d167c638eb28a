"""The batch files of a sweep on Slurm, for a person to read: a job array, and the job of its table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from clbench.sweeps.engine import Job, Needs, command, environment
from clbench.sweeps.home import Home

LEAD_SECONDS = 120
"""How long before the time limit Slurm warns, so that a run can finish its experience."""
SHARED = ("partition", "account", "qos", "reservation", "clusters", "cluster", "constraint")
"""Settings that the job of the table has too."""
PLAIN = re.compile(r"[\w@%+=:,./*&|()\[\]-]+")
"""A value that ``sbatch`` takes without quotes."""
RUN = """\
{command} &
run=$!
# Slurm sends USR1 ahead of the time limit: the run writes its checkpoint and leaves with {code}.
warned=
trap 'warned=1; kill -USR1 $run 2>/dev/null' USR1
trap 'kill -TERM $run 2>/dev/null' TERM INT
wait $run; code=$?
while kill -0 $run 2>/dev/null; do wait $run; code=$?; done
if [ $code -gt 128 ] && [ $code -ne {code} ]; then
  wait $run; again=$?  # the wait, not the run, was ended by the signal
  [ $again -ne 127 ] && code=$again
fi
# What was warned and did not finish goes back into the queue, and goes on from its checkpoint.
if [ -n "$warned" ] && [ $code -gt 128 ]; then
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" && exit 0
fi
exit $code
"""


def array(
    home: Home,
    jobs: Sequence[Job],
    n_runs: int,
    needs: Needs,
    given: Mapping[str, str | None],
    python: str,
) -> str:
    """The file of the array.

    Args:
        home: of the sweep.
        jobs: those to submit; the number of a job is that of its first line by the runs a job.
        n_runs: lines of the plan.
        needs: of the sweep.
        given: settings of ``--on slurm:``, passed through; they replace what stands here.
        python: what runs ``-m clbench``, as a shell takes it.
    """
    given = dict(given)
    lead = given.pop("lead", None) or str(LEAD_SECONDS)
    throttle = "" if needs.at_once is None else f"%{needs.at_once}"
    options: dict[str, str | None] = {
        "job-name": f"clbench-{home.id}",
        "array": ranges([job.first // needs.per_job for job in jobs]) + throttle,
        "output": f"{home.logs}/%A_%a.log",
        "chdir": str(Path.cwd()),
        "open-mode": "append",
        "requeue": None,
        "signal": f"B:USR1@{lead}",
        "cpus-per-task": str(needs.cpus),
        **({"gres": "gpu:1"} if needs.gpu and "gpus" not in given else {}),
        **given,
    }
    size, end = needs.per_job, n_runs - 1
    run = shlex.join(command(home, "FIRST..LAST", "alone", needs))
    run = run.replace("FIRST..LAST", '"$first..$last"')
    lines = [
        "#!/bin/bash",
        f"# {n_runs} runs, {size} a job, written by clbench; to submit: sbatch THIS_FILE",
        *_options(options),
        "",
        *_exports(needs),
        f"first=$((SLURM_ARRAY_TASK_ID * {size}))",
        f"last=$((first + {size - 1} < {end} ? first + {size - 1} : {end}))",
        RUN.format(command=f"{python} {run}", code=130),
    ]
    return "\n".join(lines)


def table(home: Home, needs: Needs, given: Mapping[str, str | None], python: str) -> str:
    """The file of the job that prints the table once the array has ended."""
    options: dict[str, str | None] = {
        "job-name": f"clbench-{home.id}-table",
        "output": f"{home.folder}/table.txt",
        "chdir": str(Path.cwd()),
        **{key: value for key, value in given.items() if key in SHARED},
    }
    words = ["-m", "clbench", "status", str(home.plan), "--out", str(home.out), "--table"]
    lines = [
        "#!/bin/bash",
        "# Prints the table of a sweep; to submit: sbatch --dependency=afterany:ARRAY_ID THIS_FILE",
        *_options(options),
        "",
        *_exports(needs),
        f"{python} {shlex.join(words)}",
        "",
    ]
    return "\n".join(lines)


def ranges(numbers: Sequence[int]) -> str:
    """``0-3,7,9-10`` of ascending numbers, as ``--array`` takes them."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _options(options: Mapping[str, str | None]) -> list[str]:
    return [
        f"#SBATCH --{key}" if value is None else f"#SBATCH --{key}={_quoted(value)}"
        for key, value in options.items()
    ]


def _quoted(value: str) -> str:
    return value if PLAIN.fullmatch(value) else shlex.quote(value)


def _exports(needs: Needs) -> list[str]:
    return [f"export {key}={shlex.quote(value)}" for key, value in environment(needs).items()]
