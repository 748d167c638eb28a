"""Stands in for ``python`` in a batch file: it takes the words of a job and learns nothing.

Each run gets a record of a line and a note of who did it. A file ``slow`` beside the plan makes it wait
for a signal at its first start, as a run does that is warned ahead of its time limit; ``fail`` in the
same place makes it end with 1.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def _leave(number: int, frame: object) -> None:
    sys.exit(130)


def main() -> int:
    words = sys.argv[1:]
    if "status" in words:
        print("the table")
        return 0
    given = {key: words[words.index(key) + 1] for key in ("--plan", "--index", "--out", "--job")}
    plan = Path(given["--plan"])
    lines = plan.read_text().splitlines()
    first, last = map(int, given["--index"].split(".."))
    for line in lines[first : last + 1]:
        folder = Path(given["--out"]) / json.loads(line)["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "starts").open("a") as file:
            file.write(f"{os.environ['SLURM_JOB_ID']}\n")
        if (plan.parent / "slow").exists() and not (folder / "checkpoint").exists():
            signal.signal(signal.SIGUSR1, _leave)
            (folder / "checkpoint").touch()
            time.sleep(60)
            return 3
        if (plan.parent / "fail").exists():
            return 1
        (folder / "record.json").write_text('{"schema":1,"status":"completed","error":null}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
