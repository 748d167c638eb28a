"""A sweep from Python: three strategies, the best of them, figures, and what it predicts."""

import sys
from pathlib import Path

import clbench


def main(out: Path) -> clbench.Records:
    """Run, draw and predict below a folder; takes half a minute on two cores."""
    strategies = ("naive", "ewc", "er")
    records = clbench.run(
        "scenario=class_incremental",
        "strategy.epochs=2",
        strategy=strategies,
        seed=range(2),
        out=out,
        tracker=None,
        quiet=True,
    )
    for kind in ("curves", "matrix", "bytes"):
        records.plot(kind).savefig(out / f"{kind}.png")
    best = records.best("world_accuracy")
    name = best[0].config["strategy"]["name"]
    [folder] = out.glob(f"class_incremental/{name}-*/seed0")
    trained = clbench.load(folder)
    task = trained.stream.experience(0)
    answers = trained.predict(task.x)
    sys.stdout.write(f"{records!r}\nbest: {name}; its first task's answers: {answers[:8]}\n")
    return records


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs-of-the-example"))
