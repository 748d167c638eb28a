"""Four methods on a stream that does not wait: ``docs/realtime.md`` and its figure.

    python benchmarks/realtime.py [--out FOLDER]

Runs what is not done yet, about ten CPU minutes, then writes the page.
"""

from __future__ import annotations

import argparse
import io
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from clbench.configure.sweep import sweep
from clbench.engine.execute import Options, record_of
from clbench.engine.resolved import head
from clbench.results.online import n_learnt
from clbench.results.record import Record
from clbench.results.tables import Interval, t_interval
from clbench.sweeps.local import run_all
from clbench.util.atomic import write_atomically

DOCS = Path(__file__).parent.parent / "docs"
STRATEGIES = ("naive", "er", "derpp", "mir")
TIMES = ("0.25", "0.5", "1", "2", "4", "null")
WORDS = (
    *("scenario=scole", "scenario.n_tasks=30", "scenario.chunk=32", "data=digits"),
    *(f"strategy={','.join(STRATEGIES)}", "prequential=true", f"realtime={','.join(TIMES)}"),
    *("eval_every=10", "seed=0..2"),
)
COLOURS = {"naive": "#333333", "er": "#1f6fb4", "derpp": "#d9730d", "mir": "#3b8f4b"}
TEXT = """# A stream that does not wait

Replay costs time: a method that needs C times the operations of one pass can learn from one in C
experiences only, if the stream does not wait for it. `realtime=1` gives a strategy as many counted
operations per sample as a forward and a backward pass of the network takes; how the clock works is
in [prequential.md](prequential.md). This page shows what is left of replay's advantage as the stream
gets faster.

![Accuracy against the time that the stream gives](realtime.png)

The stream is SCoLe on digits: 30 tasks of 2 of 10 classes, 32 samples at a time, each learnt once, with
settings as they are by default and three seeds. `null` is a stream that waits. Written by
`benchmarks/realtime.py`.

In short:

- Where the stream waits, DER++ and ER are ahead of fine-tuning, online and over the world.
- At `realtime=1` fine-tuning is far ahead online: it learns every experience, ER half of them, DER++ a
  third, MIR a seventh. Over the world ER and DER++ are a little better at most.
- ER has its advantage back at `realtime=2`, DER++ at 4. They take 2 and 3 passes of the network for
  each new sample, so that is where they learn (almost) all. MIR takes almost 7, and misses half even
  at 4.
- At `realtime=0.5` and less, whatever is learnt comes too late: repeating the last label is better than
  any of them.

## Results
"""
SHOWN: tuple[tuple[str, str, Callable[[Record], float | None], float, int], ...] = (
    ("Online accuracy in percent", "online", lambda r: r.metric("online_accuracy"), 100, 1),
    (
        "Anytime world accuracy in percent, with the newest weights",
        "anytime",
        lambda r: r.metric("anytime_world_accuracy"),
        100,
        1,
    ),
    (
        "Experiences learnt, in percent",
        "learnt",
        lambda r: n_learnt(r) / r.stream["experiences"],
        100,
        1,
    ),
    ("Operations per sample learnt, in passes of the network", "cost", lambda r: passes(r), 1, 2),
)


def passes(record: Record) -> float | None:
    """Operations of training over those of one pass, for each sample that was learnt."""
    clock = (record.online or {}).get("realtime")
    if clock is None:
        return None
    one = clock["flops_per_sample"] / record.config["realtime"]
    return float(clock["spent_flops"] / record.cost["samples_delivered"] / one)


def main() -> None:
    """Run what is missing and write page and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/realtime"), help="the runs' folder")
    options = Options(out=parser.parse_args().out, resume=True, quiet=True, curve=False)
    records: dict[tuple[str, str], list[Record]] = {}
    for done in run_all(sweep(WORDS), options):
        record = record_of(done)
        time = record.config["realtime"]
        key = record.config["strategy"]["name"], "null" if time is None else f"{time:g}"
        records.setdefault(key, []).append(record)
        print(*key, record.seed, record.status, flush=True)
    lines = [TEXT, *head(f"clbench run {shlex.join(WORDS)}", WORDS)]
    for title, name, value, scale, digits in SHOWN:
        rows = {s: [interval(records[s, t], value) for t in TIMES] for s in STRATEGIES}
        if name == "online":
            blind = [interval(records["naive", t], blind_accuracy) for t in TIMES]
            rows["last label repeated"] = blind
        lines += [f"{title}; mean ± 95 % Student-t interval over three seeds:", ""]
        lines += [*table(rows, scale, digits), ""]
    write_atomically(DOCS / "realtime.md", ("\n".join(lines).rstrip() + "\n").encode())
    draw(records)


def blind_accuracy(record: Record) -> float | None:
    """Of the baseline that repeats the last label."""
    return record.metric("blind_accuracy")


def interval(records: Sequence[Record], value: Callable[[Record], float | None]) -> Interval:
    """Over seeds."""
    return t_interval([v for v in map(value, records) if v is not None])


def table(rows: dict[str, list[Interval]], scale: float, digits: int) -> list[str]:
    """Markdown: a row for each strategy, a column for each value of ``realtime``."""
    found = [f"| realtime | {' | '.join(TIMES)} |", "| --- |" + " ---: |" * len(TIMES)]
    for name, values in rows.items():
        cells = [
            "–"
            if v.mean is None
            else f"{v.mean * scale:.{digits}f} ± {(v.half_width or 0) * scale:.{digits}f}"
            for v in values
        ]
        found.append(f"| {name} | {' | '.join(cells)} |")
    return found


def draw(records: dict[tuple[str, str], list[Record]]) -> None:
    """Online accuracy and anytime world accuracy against ``realtime``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (title, name, value, scale, _) in zip(figure.subplots(1, 2), SHOWN[:2], strict=True):
        for strategy in STRATEGIES:
            found = [interval(records[strategy, t], value) for t in TIMES]
            means = [scale * (v.mean or 0) for v in found]
            spread = [scale * (v.half_width or 0) for v in found]
            axes.errorbar(
                range(len(TIMES)),
                means,
                spread,
                fmt="o-",
                capsize=3,
                color=COLOURS[strategy],
                label=strategy,
            )
        if name == "online":
            blind = interval(records["naive", "null"], blind_accuracy)
            axes.axhline(
                100 * (blind.mean or 0), ls="--", color="#888888", label="last label repeated"
            )
        axes.set_xticks(range(len(TIMES)), [*TIMES[:-1], "waits"])
        axes.set(
            xlabel="realtime: passes of the network per sample", ylabel=title.partition(",")[0]
        )
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(DOCS / "realtime.png", buffer.getvalue())


if __name__ == "__main__":
    main()
