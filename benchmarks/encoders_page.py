"""Whether RankMe predicts how well is learnt continually: table and figure of ``docs/encoders.md``.

    python -m benchmarks.encoders_page [--fashion FOLDER] [--out runs/encoders]

Split ``mnist5k``, and Split Fashion-MNIST where a folder of its IDX files is given (4,000 training and
1,000 test images): five tasks of two classes, one head, on the latents of each encoder. RankMe, which
sees no label, is of 600 training images. Learners: nearest mean, SLDA, and a linear head with a memory
of 200 samples (Adam, five passes), three seeds. Runs what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.encoders import drawn, encoded, rankme, table
from benchmarks.families import held
from benchmarks.scale_page import DOCS, put
from benchmarks.vit_methods import METRIC, SEEDS, done
from clbench.configure.config import resolve_point, stand_in_words
from clbench.configure.sweep import sweep
from clbench.engine.build import load_pool
from clbench.engine.execute import Options

ENCODERS = (
    "identity",
    "random:mlp",
    "vit_tiny",
    "random:efficientnet_lite0",
    "efficientnet_lite0",
    "vit_s14",
    "joined:efficientnet_lite0+vit_s14",
)
SHORT = {"joined:efficientnet_lite0+vit_s14": "both joined"}
LEARNERS = {
    "nearest mean": ("strategy=nmc",),
    "SLDA": ("strategy=slda",),
    "replay": (
        "strategy=er",
        "strategy.memory_size=200",
        "strategy.epochs=5",
        "strategy.optimizer=adam",
    ),
}
IMAGES = 600
Found = dict[str, tuple[float, dict[str, float]]]
"""By encoder: RankMe, and the mean accuracy of each learner in percent."""


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 0, ties shared."""
    return [sum(w < v for w in values) + (values.count(v) - 1) / 2 for v in values]


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation."""
    return float(torch.corrcoef(torch.tensor([ranks(a), ranks(b)]))[0, 1])


def measured(data: Sequence[str], options: Options) -> Found:
    """RankMe and accuracies of every encoder on one stream."""
    found: Found = {}
    point = sweep([*stand_in_words(), *data])[0]
    pool = load_pool(resolve_point(point), torch.device("cpu"))
    x, _ = drawn(pool, "train", IMAGES)
    for name in ENCODERS:
        net = resolve_point({**point, "encoder": name}).encoder.build(pool.input_shape, pool.scale)
        accuracy = {}
        for learner, words in LEARNERS.items():
            stream = ("scenario=class_incremental", "model=linear", f"encoder={name}", SEEDS)
            records = done([*stream, *data, *words, "threads=1", "eval_every=5"], options)
            values = [100 * (r.metric(METRIC) or 0.0) for r in records]
            accuracy[learner] = sum(values) / len(values)
        found[name] = rankme(encoded(net, x)), accuracy
        print(name, f"{found[name][0]:.1f}", accuracy, flush=True)
    return found


def lines(found: Mapping[str, Found]) -> list[str]:
    """A table for each stream, with the rank correlations in its last line."""
    made: list[str] = []
    for title, of in found.items():
        made += [
            f"{title}:",
            "",
            f"| encoder | RankMe | {' | '.join(f'{name} %' for name in LEARNERS)} |",
            f"| --- | {'---: | ' * (1 + len(LEARNERS))}".rstrip(),
        ]
        for name, (rank, accuracy) in of.items():
            values = " | ".join(f"{accuracy[learner]:.1f}" for learner in LEARNERS)
            made.append(f"| `{name}` | {rank:.1f} | {values} |")
        columns = [[accuracy[learner] for _, accuracy in of.values()] for learner in LEARNERS]
        rank_column = [rank for rank, _ in of.values()]
        values = " | ".join(f"{spearman(rank_column, column):+.2f}" for column in columns)
        made += [f"| rank correlation with RankMe | | {values} |", ""]
    return made[:-1]


def draw(found: Mapping[str, Found], path: Path) -> None:
    """One panel for each stream: accuracy over RankMe."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(5.2 * len(found), 4.8), squeeze=False)
    for axis, (title, of) in zip(axes[0], found.items(), strict=True):
        order = sorted(of, key=lambda name: of[name][0])
        for learner, mark in zip(LEARNERS, "osv", strict=True):
            y = [of[name][1][learner] for name in order]
            axis.plot([of[name][0] for name in order], y, mark, label=learner, alpha=0.8)
        at = -20.0
        for name in order:  # above the panel, where no point is, and 12 apart
            at = max(at + 12, of[name][0])
            axis.text(
                at, 101, SHORT.get(name, name), rotation=55, fontsize=7, rotation_mode="anchor"
            )
        axis.set_title(title, pad=88)
        axis.set(xlabel="RankMe (no labels)", ylabel="accuracy at the end, %", ylim=(0, 100))
        axis.grid(alpha=0.25)
    axes[0][0].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run what is missing; write tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fashion", type=Path, help="folder of the four IDX files")
    parser.add_argument("--out", type=Path, default=Path("runs/encoders"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = Options(out=given.out, resume=True, quiet=True, curve=False)
    streams: dict[str, tuple[str, ...]] = {"Split mnist5k": ("data=mnist5k",)}
    if given.fashion is not None:
        file = held(given.fashion, given.out / "fashion4k.npz", 400, 100)
        streams["Split Fashion-MNIST"] = ("data=npz", f"data.path={file}")
    found = {title: measured(data, options) for title, data in streams.items()}
    page, command = DOCS / "encoders.md", "python -m benchmarks.encoders"
    words = (
        *("scenario=class_incremental", "data=mnist5k", "encoder=identity", "model=linear"),
        "strategy=er",
    )
    put(page, "rankme", f"{command}_page --fashion FOLDER", words, lines(found))
    put(page, "risks", f"{command} --data mnist5k", (), table("mnist5k", ENCODERS, IMAGES, ()))
    draw(found, DOCS / "encoders.png")


if __name__ == "__main__":
    main()
