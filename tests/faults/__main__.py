"""The long form: ``python -m tests.faults --kills 1000 --sweeps 200 --flips 500``."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.faults import flips, forked, kills


def main() -> int:
    """Print a table of what was tried and what survived; 1 if anything did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="of single runs")
    parser.add_argument(
        "--sweeps", type=int, default=0, metavar="N", help="of sweeps of two workers"
    )
    parser.add_argument(
        "--flips", type=int, default=0, metavar="N", help="bits of each kind of file"
    )
    parser.add_argument("--seed", type=int, default=0, help="of moments and signals")
    asked = parser.parse_args()
    forked.warm_up()
    faults = []
    print("| what | tried | faults | minutes |\n| :--- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for title, n, driver in (
            ("kills of single runs", asked.kills, kills.single_runs),
            ("kills of sweeps with two workers", asked.sweeps, kills.sweeps),
        ):
            if n:
                began = time.monotonic()
                tally = driver(n, Path(name), asked.seed)
                faults += tally.faults
                minutes = (time.monotonic() - began) / 60
                tried = sum(tally.kills.values())
                print(f"| {title} | {tried} | {len(tally.faults)} | {minutes:.1f} |", flush=True)
                for kind, count in sorted(tally.kills.items()):
                    print(f"| – {kind} | {count} | | |", flush=True)
        if asked.flips:
            for what, (path, read) in flips.files(Path(name)).items():
                unnoticed = flips.unnoticed(path, asked.flips, read, asked.seed)
                faults += [f"bit {at} of {what} was not noticed" for at in unnoticed]
                print(f"| flipped bits of {what} | {asked.flips} | {len(unnoticed)} | |")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
