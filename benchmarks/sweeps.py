"""Seconds and memory of a sweep of 100,000 runs before and beside them: plan, batch file, ``status``.

``python -m benchmarks.sweeps [N]`` plans N runs that differ in their seed, writes the batch files of
Slurm, and looks at the folders of N runs, of which half are done, each time in a new process. The
records are short; ``status`` reads the first 8 kB of each, and all of at most 300.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from clbench.sweeps.home import homes

CODE = """
import resource, sys, time
from clbench.cli import main
start, cpu = time.perf_counter(), time.process_time()
code = main(sys.argv[1:])
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
sys.stderr.write(f"\\nMEASURED {code} {seconds} {cpu} {peak}\\n")
"""
PADDING = "x" * 3000


def measured(*words: str) -> tuple[float, float, float]:
    """Seconds, seconds of computing and peak MB of a command in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True
    )
    found = re.search(r"MEASURED 0 (\S+) (\S+) (\S+)", done.stderr)
    assert found, done.stderr
    return float(found[1]), float(found[2]), float(found[3])


def main() -> None:
    """Print a table in Markdown."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    half = n // 2
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs"
        sweep = ("scenario=scole", "strategy=naive", "model=mlp", "-q", "--out", str(out))
        one = measured("run", *sweep, "--on", "slurm", "--script")
        every = ("strategy.lr=0.1,0.01", f"seed=0..{half - 1}")
        plan = measured("run", *sweep, *every, "--on", "slurm", "--script", "--per-job", "100")
        [home] = [home for home in homes(out) if home.plan.stat().st_size > 10_000]
        rows = [json.loads(row)["folder"] for row in home.plan.read_text().splitlines()]
        text = json.dumps(
            {"schema": 1, "status": "completed", "error": None, "padding": PADDING,
             "cost": {"train_seconds": 9.0, "predict_seconds": 1.0, "harness_seconds": 0.1}},
            separators=(",", ":"),
        )  # fmt: skip
        for row in rows[::2]:
            (out / row).mkdir(parents=True)
            (out / row / "record.json").write_text(text)
        status = measured("status", str(home.plan))
        again = measured("status", str(home.plan))
    print("| what | seconds | computing | ms a run | peak MB |")
    print("| :--- | ---: | ---: | ---: | ---: |")
    for name, (seconds, cpu, peak) in {
        "plan and batch files of 1 run": one,
        f"plan and batch files of {n:,} runs": plan,
        f"`status` of {n:,} runs, first": status,
        f"`status` of {n:,} runs, again": again,
    }.items():
        runs = 1 if name.endswith(" 1 run") else n
        print(f"| {name} | {seconds:.1f} | {cpu:.1f} | {1e3 * cpu / runs:.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
