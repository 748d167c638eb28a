"""Try every attack, print what each was caught by, and how many were caught of how many tried."""

import importlib
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Try the attacks that are named, or all."""
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    attacking = importlib.import_module("attacking")
    results = []
    zygote = attacking.Zygote(1, "cpu")
    with tempfile.TemporaryDirectory() as folder, zygote:
        board = attacking.make(Path(folder))
        for name in sys.argv[1:] or attacking.attacks():
            work = Path(folder) / name
            work.mkdir()
            caught, said = attacking.outcome(board, name, work, zygote)
            results.append(caught)
            print(f"{'caught ' if caught else 'MISSED '} {name}: {said[:150]}", flush=True)
    print(f"{sum(results)} caught / {len(results)} tried")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
