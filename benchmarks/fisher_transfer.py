"""Does a released Fisher help the worst group? Ovsianas et al. 2022 (arXiv 2210.16365), small, offline.

Pretrain on one pool, release weights and Fisher, fine-tune on another pool whose labels correlate with
an attribute, with and without the Fisher. Here the pools are parts of ``mnist5k``: the digits 4 to 9
on backgrounds of either tone, at random (unbiased), and a few of the digits 0 to 3, on the background
of their parity in 95 % of cases. Arms:

- ``scratch``: fine-tuning of fresh weights;
- ``weights``: fine-tuning of the pretrained weights;
- ``fisher``: EWC at the pretrained weights with their Fisher, for each lambda of a grid;
- ``flat``: the same with one value everywhere, the mean of that Fisher: L2-SP (Li et al. 2018, arXiv
  1802.01483), which separates the effect of the Fisher from that of an anchor. As lambda grows, it
  approaches a fresh linear layer on frozen features.

Each seed has its own pretraining, so that the intervals (95 % Student-t) cover it. The whole grid is
reported: no lambda is chosen. Worst group: the lowest accuracy of any digit on either background;
average: mean over these groups; as trained: groups weighted by their shares in training.

Run by hand, ``python benchmarks/fisher_transfer.py``; finished runs are not repeated, so the
study can be interrupted. The table is printed and written to the folder of the runs.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from clbench.cli import main as clbench
from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.engine.execute import Done, Options, record_of
from clbench.fisher import release
from clbench.results.record import Record
from clbench.results.tables import t_interval
from clbench.sweeps.local import run_all

FIRST = 4
"""Pretraining uses the digits from this one on; fine-tuning uses those below it."""
PRETRAINING_SEED = 1000
"""Added to the seed, so that pretraining and fine-tuning share no random numbers."""
MEASURES = ("worst group", "average", "as trained")


@dataclasses.dataclass(frozen=True)
class Study:
    """The settings of the study, and the folder of its runs."""

    out: Path
    seeds: int
    lams: tuple[float, ...]
    model: str
    share: float
    alignment: float
    attribute: str
    pretrain_epochs: int
    epochs: int
    lr: float

    @property
    def training(self) -> list[str]:
        """Words of both stages."""
        return [
            f"model={self.model}",
            "data=npz",
            f"strategy.lr={self.lr}",
            "strategy.momentum=0.9",
        ]


def write_pools(study: Study) -> tuple[Path, Path]:
    """The pool to pretrain on, marked at random, and the raw one to fine-tune on."""
    config = resolve_point({"scenario": "subgroup_shift", "strategy": "naive", "data": "mnist5k"})
    arrays = config.data.arrays()
    paths = study.out / "upstream.npz", study.out / "downstream.npz"
    for path, low, high in zip(paths, (FIRST, 0), (10, FIRST), strict=True):
        train, test = (
            (x[(y >= low) & (y < high)], y[(y >= low) & (y < high)] - low)
            for x, y in ((arrays.train_x, arrays.train_y), (arrays.test_x, arrays.test_y))
        )
        study.out.mkdir(parents=True, exist_ok=True)
        np.savez(path, train_x=train[0], train_y=train[1], test_x=test[0], test_y=test[1])
    marked = sweep([*biased(study, paths[0]), "strategy=naive", "scenario.alignment=0.5"])[0]
    config = resolve_point(marked)
    stream = config.scenario.stream(config.data.pool(torch.device("cpu")), 0)
    learnt, scored = stream.experience(0), stream.world()
    np.savez(paths[0], train_x=learnt.x, train_y=learnt.y, test_x=scored.x, test_y=scored.y)
    return paths


def biased(study: Study, pool: Path) -> list[str]:
    """Words of the scenario, without share and alignment."""
    return [
        "scenario=subgroup_shift",
        f"scenario.attribute={study.attribute}",
        "data=npz",
        f"data.path={pool}",
    ]


def run(study: Study, *words: str) -> Done:
    """Run once, or load the earlier result."""
    [done] = run_all(sweep([*words]), Options(study.out / "runs", resume=True, quiet=True))
    if record_of(done).status != "completed":
        raise SystemExit(f"{done.folder}: {record_of(done).status}: {record_of(done).error}")
    return done


def command(*words: str) -> None:
    """Run a command of clbench, as a user would."""
    if clbench([*words]):
        raise SystemExit(f"clbench {' '.join(words)} failed")


def pretrain(study: Study, pool: Path, seed: int) -> tuple[Path, Path, Path, float]:
    """Released weights, their Fisher, the flat one of the same mean; and the test accuracy."""
    done = run(
        study,
        *study.training,
        f"data.path={pool}",
        f"seed={PRETRAINING_SEED + seed}",
        f"strategy.epochs={study.pretrain_epochs}",
        *("scenario=class_incremental", "scenario.n_tasks=1", "strategy=naive"),
    )
    accuracy = record_of(done).metric("world_accuracy")
    assert accuracy is not None
    there = study.out / "release" / done.folder.parent.name / f"seed{seed}"
    there.mkdir(parents=True, exist_ok=True)
    weights, fisher, flat = (
        there / f"{name}.safetensors" for name in ("weights", "fisher", "flat")
    )
    if flat.exists():  # it is the last that is written
        return weights, fisher, flat, accuracy
    command("export", str(done.folder), "--weights", str(weights), "--overwrite")
    network = [f"model={study.model}", "data=npz", f"data.path={pool}"]
    files = ["--weights", str(weights), "--out", str(fisher), "--overwrite", "--quiet"]
    command("fisher", "compute", *network, "--exclude", "output", "--samples", "1000", *files)
    found = release.load(fisher)
    mean = torch.cat([f.flatten() for f in found.fisher.values()]).mean()
    changes = (*found.metadata.changes, "every value set to the mean of all")
    same = {name: torch.full_like(f, float(mean)) for name, f in found.fisher.items()}
    release.save(flat, same, dataclasses.replace(found.metadata, changes=changes))
    return weights, fisher, flat, accuracy


def arms(study: Study, weights: Path, fisher: Path, flat: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and words of every fine-tuning arm."""
    start = f"strategy.weights_path={weights}"
    yield "scratch", ["strategy=naive"]
    yield "weights", ["strategy=naive", start]
    for name, path in (("fisher", fisher), ("flat", flat)):
        for lam in study.lams:
            words = ["strategy=ewc", start, f"strategy.fisher_path={path}", f"strategy.lam={lam}"]
            yield f"{name} {lam:g}", words


def measures(record: Record, alignment: float) -> tuple[float, ...]:
    """The numbers of the table, from the counts."""
    counts, cells = record.to_counts(), record.counts["cells"]
    accuracy = counts.correct[-1] / counts.size
    tied = np.array([cell["label"] % 2 == cell["domain"] for cell in cells])
    shares = np.where(tied, alignment, 1 - alignment) * counts.size
    worst, average = record.metric("worst_group_accuracy"), record.metric("world_accuracy")
    assert worst is not None
    assert average is not None
    return worst, average, float(accuracy @ shares / shares.sum())


def points(values: np.ndarray) -> str:
    """``81.3 ± 2.0``: mean and half width in percentage points."""
    mean, half_width, _ = t_interval([100 * float(v) for v in values])
    return f"{mean:.1f}" + ("" if half_width is None else f" ± {half_width:.1f}")


def table(study: Study, found: dict[str, np.ndarray], pretrained: list[float]) -> str:
    """Write the arms as Markdown, with differences to the arms for comparison."""
    n = len(pretrained)
    head = [*MEASURES, "worst group − weights", "worst group − flat", "average − weights"]
    lines = [
        "<!-- command: python benchmarks/fisher_transfer.py -->",
        f"model {study.model}, {study.attribute}, alignment {study.alignment:g}, share "
        f"{study.share:g}, {n} seeds; pretrained accuracy {points(np.array(pretrained))}",
        "",
        "| arm | " + " | ".join(head) + " |",
        "| --- |" + " ---: |" * len(head),
    ]
    for name, values in found.items():
        kind, _, lam = name.partition(" ")
        differences = [values[:, 0] - found["weights"][:, 0] if name != "weights" else None]
        differences += [values[:, 0] - found[f"flat {lam}"][:, 0] if kind == "fisher" else None]
        differences += [values[:, 1] - found["weights"][:, 1] if name != "weights" else None]
        cells = [points(column) for column in values.T]
        cells += ["–" if d is None else points(d) for d in differences]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/fisher_transfer"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lams", type=float, nargs="+", default=[1, 10, 100, 1e3, 1e4])
    parser.add_argument("--model", default="scole_cnn")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--alignment", type=float, default=0.95)
    parser.add_argument("--attribute", default="background")
    parser.add_argument("--pretrain-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=0.01)
    settings = vars(parser.parse_args())
    study = Study(**{**settings, "lams": tuple(settings["lams"])})
    upstream, downstream = write_pools(study)
    rows: dict[str, list[tuple[float, ...]]] = {}
    pretrained = []
    for seed in range(study.seeds):
        *files, accuracy = pretrain(study, upstream, seed)
        pretrained.append(accuracy)
        for name, words in arms(study, *files):
            done = run(
                study,
                *study.training,
                *biased(study, downstream)[:2],
                f"data.path={downstream}",
                f"scenario.alignment={study.alignment}",
                f"scenario.share={study.share}",
                f"strategy.epochs={study.epochs}",
                f"seed={seed}",
                *words,
            )
            rows.setdefault(name, []).append(measures(record_of(done), study.alignment))
    text = table(study, {name: np.array(values) for name, values in rows.items()}, pretrained)
    (study.out / "table.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
