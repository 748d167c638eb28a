"""The field's methods on one stream, at equal memories and equal tuning: ``docs/families.md``.

    python -m benchmarks.families --data FOLDER [--out runs/families] [--only er,icarl] [--write]

Split Fashion-MNIST: five tasks of two classes, one head, the small convolutional network, 10,000
training images (the first thousand of each class, in the order of the files) and all 10,000 test
images. Every strategy has the same search: six trials over the space that it declares, its defaults
first, scored on validation data of one seed that is not among the five of the table. What stores
samples has the bytes of 500. Runs what is missing, so a stopped series goes on by the same words;
``--write`` puts the table into the page.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.scale_page import put
from benchmarks.strategies_table import family
from clbench.configure.sweep import sweep
from clbench.configure.tuning import best_trial
from clbench.data.idx import find_idx, read_idx
from clbench.engine.execute import Options, record_of
from clbench.engine.resolved import resolved
from clbench.errors import ClbenchError
from clbench.leaderboard.tune import tune
from clbench.plugins.registry import plugins
from clbench.results.record import Record
from clbench.results.tables import t_interval
from clbench.sweeps.local import run_all
from clbench.util.atomic import write_atomically

PAGE = Path(__file__).parents[1] / "docs" / "families.md"
PER_CLASS = 1000
SAMPLES = 500
SAMPLE_BYTES = 28 * 28 + 8
"""A stored image, a byte a pixel, and its label."""
TRIALS = 6
TUNING_SEED = "seed=100"
SEEDS = "seed=0..4"
METRIC = "average_accuracy"
DEAREST = 20.0
"""Operations of a run, relative to those of naive; a dearer method is named and left out."""
STREAM = ("scenario=class_incremental", "model=scole_cnn", "strategy.epochs=2")


def words(name: str, data: Path) -> list[str]:
    """The words of a method's runs."""
    config = {f.name for f in dataclasses.fields(plugins("strategy")[name].load().Config)}
    found = [*STREAM, "data=npz", f"data.path={data}", f"strategy={name}"]
    if "epochs" not in config:
        found.remove("strategy.epochs=2")
    if "memory_bytes" in config:
        found.append(f"strategy.memory_bytes={SAMPLES * SAMPLE_BYTES}")
    return found


def held(folder: Path, path: Path, n_train: int, n_test: int) -> Path:
    """A file with the first images of each class, in the order of the IDX files in a folder.

    Raises:
        ClbenchError: the folder has not the four IDX files.
    """
    if path.exists():
        return path
    files = find_idx(folder)
    if files is None:
        raise ClbenchError(f"{folder}: has not the four IDX files")
    train_x, train_y, test_x, test_y = (
        read_idx(file, shape) for file, shape in zip(files, ((28, 28), ()) * 2, strict=True)
    )
    train, test = (
        np.sort(np.concatenate([np.flatnonzero(y == c)[:n] for c in range(10)]))
        for y, n in ((train_y, n_train), (test_y, n_test))
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        train_x=train_x[train],
        train_y=train_y[train],
        test_x=test_x[test],
        test_y=test_y[test],
    )
    write_atomically(path, buffer.getvalue())
    return path


def measured(name: str, data: Path, options: Options) -> list[Record]:
    """Tune a method, run it on all seeds, and return its records."""
    asked = words(name, data)
    table, _ = tune(
        [*asked, TUNING_SEED], options, lambda line: None, trials=TRIALS, primary=METRIC
    )
    best = table["results"][best_trial(table["results"])]["settings"]
    chosen = [f"{key}={value}" for key, value in best.items()]
    records = [record_of(done) for done in run_all(sweep([*asked, *chosen, SEEDS]), options)]
    if any(record.status == "interrupted" for record in records):
        raise KeyboardInterrupt
    return records


def row(name: str, records: Sequence[Record], naive: float) -> tuple[float, str]:
    """The mean accuracy in percent, and the method's line of the table."""
    found = [r.metric(METRIC) for r in records if r.status == "completed"]
    values = [100 * value for value in found if value is not None]
    if len(values) < len(records) or not values:
        reason = (records[0].error or {}).get("message", records[0].status) if records else ""
        return -1.0, f"| `{name}` | {family(plugins('strategy')[name])} | fails: {reason} | | | |"
    accuracy = t_interval(values)
    forgetting = t_interval([100 * (r.metric("forgetting") or 0.0) for r in records])
    state = max(r.cost["state_bytes"] for r in records) / 1000
    flops = sum(r.cost["train_flops"] for r in records) / len(records)
    cells = (
        f"`{name}`",
        family(plugins("strategy")[name]),
        f"{accuracy.mean or 0:.1f} ± {accuracy.half_width or 0:.1f}",
        f"{forgetting.mean or 0:.1f}",
        f"{state:,.0f}",
        f"{flops / naive:.1f}",
    )
    return accuracy.mean or 0.0, f"| {' | '.join(cells)} |"


def table(found: dict[str, Sequence[Record]], out_of: dict[str, str], data: Path) -> list[str]:
    """The network, the table with the best method first, and what is not in it."""
    costs = [r.cost["train_flops"] for r in found["naive"]]
    rows = sorted((row(n, r, sum(costs) / len(costs)) for n, r in found.items()), reverse=True)
    return [
        *resolved([*STREAM, "data=npz", f"data.path={data}", "strategy=naive"]),
        "",
        "| method | family | accuracy % | forgetting | state kB | operations |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(line for _, line in rows),
        "",
        "Not in the table:",
        "",
        *(f"- `{name}`: {why}" for name, why in sorted(out_of.items())),
    ]


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the four IDX files")
    parser.add_argument("--out", type=Path, default=Path("runs/families"))
    parser.add_argument("--only", default="", help="methods, by commas (default: all)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/families.md")
    given = parser.parse_args()
    if given.write and given.only:
        parser.error("--write is of all methods: leave out --only")
    data = held(given.data, given.out / "fashion10k.npz", PER_CLASS, PER_CLASS)
    options = Options(out=given.out, resume=True, quiet=True, curve=False)
    found: dict[str, Sequence[Record]] = {}
    out_of: dict[str, str] = {}

    def tried(name: str) -> Record:
        asked = [*words(name, data), TUNING_SEED, "evaluate_on=val"]
        [done] = run_all(sweep(asked), dataclasses.replace(options, out=given.out / "timed"))
        return record_of(done)

    naive = tried("naive").cost["train_flops"]
    for name in given.only.split(",") if given.only else plugins("strategy"):
        began = time.process_time()
        try:
            record = tried(name)
            if record.status != "completed":
                out_of[name] = str((record.error or {}).get("message", record.status))
            elif (times := record.cost["train_flops"] / naive) > DEAREST:
                out_of[name] = f"{times:.0f} times the operations of `naive`: too dear"
            else:
                found[name] = measured(name, data, options)
        except ClbenchError as error:
            out_of[name] = str(error)
        said = out_of.get(name) or row(name, found[name], naive)[1]
        print(f"{name}: {said} ({time.process_time() - began:.0f} s)", flush=True)
    if given.write:
        command = "python -m benchmarks.families --data FOLDER --write"
        put(PAGE, "families", command, (), table(found, out_of, data))


if __name__ == "__main__":
    main()
