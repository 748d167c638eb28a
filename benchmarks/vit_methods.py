"""The methods on top of a pretrained transformer, on two streams: a table of each in ``docs/vit.md``.

    python -m benchmarks.vit_methods [--fashion FOLDER] [--out runs/vit] [--only SLCA,CODA] [--write]

Split Fashion-MNIST and Split ``mnist5k``: five tasks of two classes, one head, 4,000 training and 1,000
test images, resized to 56 pixels (17 tokens), one pass. Every method that is trained by gradients has
the same three rates, scored on the validation data of one seed over two tasks; the closed forms have
nothing to choose. Without ``--fashion`` the stream is Split ``mnist5k``. Runs what is missing, so a
stopped series goes on by the same words.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.families import held
from benchmarks.scale_page import put
from clbench.configure.sweep import sweep
from clbench.engine.execute import Options, record_of
from clbench.engine.resolved import resolved
from clbench.results.record import Record
from clbench.results.tables import t_interval
from clbench.sweeps.local import run_all

PAGE = Path(__file__).parents[1] / "docs" / "vit.md"
FROZEN = ("encoder=vit_s14", "encoder.resolution=56", "model=linear")
TRAINED = ("model=vit_s14", "model.resolution=56", "strategy.epochs=1")
ADAM, SGD = ("strategy.optimizer=adam",), ("strategy.momentum=0.9",)
RATES = {ADAM: (0.0003, 0.001, 0.003), SGD: (0.003, 0.01, 0.03), (): ()}
MEMORY = "strategy.memory_size=200"
METHODS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "nearest mean": ((*FROZEN, "strategy=nmc"), ()),
    "nearest mean, cosine (SimpleCIL)": ((*FROZEN, "strategy=nmc", "strategy.metric=cosine"), ()),
    "SLDA": ((*FROZEN, "strategy=slda"), ()),
    "FeCAM": ((*FROZEN, "strategy=fecam"), ()),
    "RanPAC, without its first phase": ((*FROZEN, "strategy=ridge"), ()),
    "linear head, replay": ((*FROZEN, "strategy=er", MEMORY, "strategy.epochs=5"), ADAM),
    "RanPAC": ((*TRAINED, "model.tune=adapter", "strategy=ranpac"), ADAM),
    "LoRA, naive": ((*TRAINED, "model.tune=lora", "strategy=naive"), ADAM),
    "LoRA, EWC": ((*TRAINED, "model.tune=lora", "strategy=ewc"), ADAM),
    "LoRA, replay": ((*TRAINED, "model.tune=lora", "strategy=er", MEMORY), ADAM),
    "SLCA": ((*TRAINED, "strategy=slca"), SGD),
    "InfLoRA": ((*TRAINED, "model.tune=head", "strategy=inflora"), ADAM),
    "CODA-Prompt": ((*TRAINED, "model.tune=head", "strategy=coda_prompt"), ADAM),
    "L2P": ((*TRAINED, "model.tune=head", "strategy=l2p"), ADAM),
    "joint, LoRA": ((*TRAINED, "model.tune=lora", "strategy=joint"), ADAM),
}
"""The words of each row, and its optimizer's; without one there is no rate to choose."""
TIED = {"slca": ("strategy.align_lr",)}
"""Other settings that are the learning rate too: the code of SLCA has one for both of its stages."""
SEEDS, TUNING = "seed=0..2", ("seed=100", "max_tasks=2", "eval_every=2", "evaluate_on=val")
METRIC = "average_accuracy"
HEAD = (
    "| method | accuracy % | state kB | frozen MB | training TFLOP | rate |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
)


def done(words: Sequence[str], options: Options) -> list[Record]:
    """The records of these words, those run before included."""
    records = [record_of(d) for d in run_all(sweep(words), options)]
    for record in records:
        if record.status == "interrupted":
            raise KeyboardInterrupt
        if record.status != "completed":
            raise RuntimeError(f"{' '.join(words)}: {record.error}")
    return records


def measured(words: Sequence[str], optimizer: tuple[str, ...], options: Options) -> list[Record]:
    """Choose the rate on validation data, and run the seeds of the table with it."""
    words = [*words, *optimizer, "scenario=class_incremental", "threads=1"]
    strategy = next(w.partition("=")[2] for w in words if w.startswith("strategy="))
    of_rate = ("strategy.lr", *TIED.get(strategy, ()))
    tried = [[*words, *(f"{setting}={rate}" for setting in of_rate)] for rate in RATES[optimizer]]
    if tried:
        scores = [done([*one, *TUNING], options)[0].metric(METRIC) or 0.0 for one in tried]
        words = tried[int(np.argmax(scores))]
    return done([*words, SEEDS, "eval_every=5"], options)


def row(name: str, records: Sequence[Record], rate: str) -> str:
    """A method's line: mean accuracy with its 95 % Student-t half-width, and what it costs."""
    accuracy = t_interval([100 * (r.metric(METRIC) or 0.0) for r in records])
    flops = sum(r.cost["train_flops"] for r in records) / len(records)
    cells = (
        name,
        f"{accuracy.mean or 0:.1f} ± {accuracy.half_width or 0:.1f}",
        f"{max(r.cost['state_bytes'] for r in records) / 1e3:,.0f}",
        f"{records[0].cost['frozen_bytes'] / 1e6:.1f}",
        f"{flops / 1e12:.2f}",
        rate,
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fashion", type=Path, help="folder of its four IDX files")
    parser.add_argument("--out", type=Path, default=Path("runs/vit"))
    parser.add_argument("--only", default="", help="parts of methods' names, by commas")
    parser.add_argument("--write", action="store_true", help="put the table into docs/vit.md")
    given = parser.parse_args()
    if given.write and given.only:
        parser.error("--write is of all methods: leave out --only")
    options = Options(out=given.out, resume=True, quiet=True, curve=False)
    if given.fashion is None:
        name, data = "mnist5k", ("data=mnist5k",)
        command = "python -m benchmarks.vit_methods --write"
    else:
        images = held(given.fashion, given.out / "fashion4k.npz", 400, 100)
        name, data = "fashion", ("data=npz", f"data.path={images}")
        command = "python -m benchmarks.vit_methods --fashion FOLDER --write"
    words = ("scenario=class_incremental", *data, *TRAINED[:2], "model.tune=lora")
    lines = [*resolved([*words, "strategy=naive"]), "", *HEAD]
    for method, (own, optimizer) in METHODS.items():
        if given.only and not any(part in method for part in given.only.split(",")):
            continue
        began = time.process_time()
        records = measured([*own, *data], optimizer, options)
        rate = f"{records[0].config['strategy']['lr']:g}" if optimizer else "–"
        lines.append(row(method, records, rate))
        print(f"{lines[-1]} ({time.process_time() - began:.0f} s)", flush=True)
    print("\n".join(lines))
    if given.write:
        put(PAGE, name, command, (), lines)


if __name__ == "__main__":
    main()
