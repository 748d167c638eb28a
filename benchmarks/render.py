"""Time, page size and memory of a board's rendering.

python benchmarks/render.py --entries 200 --seeds 10 --tasks 1000
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "leaderboard"))


def main() -> None:
    """Write entries, then read, check, rank and render them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--validate", action="store_true", help="also run every rule")
    arguments = parser.parse_args()

    import synthetic

    from clbench.leaderboard import render
    from clbench.leaderboard.checks import validate

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scole-digits"
        copies = -(-arguments.entries // len(synthetic.RECIPES))
        seeds = range(arguments.seeds)
        synthetic.showcase(folder, seeds, arguments.tasks, copies, arguments.entries)
        start, used = time.perf_counter(), time.process_time()
        files = render.render_all(Path(name), validate if arguments.validate else None)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        page = len(files[folder / "index.html"].encode())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.1f} s ({used:.1f} s of CPU), page {page / 1e6:.2f} MB, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
