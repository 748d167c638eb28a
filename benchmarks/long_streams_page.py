"""Page and figure of ``long_streams.py``, from the JSON files of its parts."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clbench.engine.resolved import resolved
from clbench.util.atomic import write_atomically

MARKS = "<!-- generated: begin -->", "<!-- generated: end -->"
DOCS = Path(__file__).parent.parent / "docs"
LENGTHS = (10, 50, 100, 200, 1000)
FIRST = 10
"""The growth exponent is fitted from this task on."""
BINS = 24
TITLES = {
    "naive": "naive, evaluation on the world",
    "row": "naive, evaluation of every task so far",
    "ewc separate": "EWC, one penalty per task, evaluation on the world",
    "ewc online": "EWC online, evaluation on the world",
    "er": "replay of 500 samples, evaluation on the world",
}
LOOKS = {
    "clbench": {"color": "#1f6fb4", "lw": 2.2},
    "clbench, batched Fisher": {"color": "#7db7e8", "lw": 1.6},
    "Avalanche": {"color": "#d9730d", "lw": 1.6},
    "CapyMOA": {"color": "#8b5fbf", "lw": 1.6},
    "Continuum": {"color": "#3b8f4b", "lw": 1.6},
    "by hand": {"color": "#333333", "lw": 1.4, "ls": "--"},
}
Arm = Mapping[str, Any]


def mean(values: Sequence[float], n: int) -> float | None:
    """The mean of the first ``n``; None if there are fewer."""
    return float(np.mean(values[:n])) if len(values) >= n else None


def last_tenth(values: Sequence[float], n: int) -> float | None:
    """The median of the last tenth of the first ``n``, robust to a pause of the machine."""
    return float(np.median(values[n - n // 10 : n])) if len(values) >= n else None


def curve(seconds: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Log-spaced task numbers, and the median seconds of the tasks around each."""
    number = np.arange(1, len(seconds) + 1)
    which = np.digitize(number, np.geomspace(1, len(seconds) + 1, BINS + 1))
    bins = [which == b for b in np.unique(which)]
    at = np.array([np.exp(np.log(number[b]).mean()) for b in bins])
    return at, np.array([np.median(np.asarray(seconds)[b]) for b in bins])


def exponent(seconds: Sequence[float]) -> float | None:
    """The slope of log seconds against log task number, from task ``FIRST`` on: 0 is flat."""
    at, median = curve(seconds)
    late = at >= FIRST
    if late.sum() < 4:
        return None
    return float(np.polyfit(np.log(at[late]), np.log(median[late]), 1)[0])


def table(part: str, found: Mapping[str, Any]) -> list[str]:
    """Per arm: ms per task at each length, growth, memory, accuracy."""
    lengths = [n for n in LENGTHS if n <= found["n_tasks"]]
    heads = [f"T = {n:,}" for n in lengths]
    lines = [f"### {TITLES[part]}", ""]
    lines += [f"| ms a task | {' | '.join(heads)} | exponent | memory | accuracy |"]
    lines += ["| --- |" + " ---: |" * (len(lengths) + 3)]
    for arm in found["arms"]:
        if arm["seconds"]:
            cells = [_cell(arm["seconds"], n) for n in lengths]
            cells += [_number(exponent(arm["seconds"]), 2), _memory(arm), _accuracy(arm)]
        else:
            cells = ["–"] * (len(lengths) + 3)
        lines.append(f"| {arm['name']} | {' | '.join(cells)} |")
    gaps = [f"{arm['name']}: {arm['gap']}." for arm in found["arms"] if arm["gap"]]
    return [*lines, "", *([" ".join(gaps), ""] if gaps else [])]


def _cell(seconds: Sequence[float], n: int) -> str:
    average, late = mean(seconds, n), last_tenth(seconds, n)
    if average is None or late is None:
        return "–"
    return f"{1e3 * average:.2f} / {1e3 * late:.2f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _memory(arm: Arm) -> str:
    """The growth of the peak after the first block of tasks."""
    return f"{(arm['memory'][-1] - arm['memory'][0]) / 1e6:.1f} MB"


def _accuracy(arm: Arm) -> str:
    return f"{100 * arm['accuracy'][-1]:.1f} % ({len(arm['seconds']):,})"


def ratios(part: str, found: Mapping[str, Any]) -> list[str]:
    """The ratio of each arm's seconds to clbench's, in the last tenth of each length."""
    lengths = [n for n in LENGTHS if n <= found["n_tasks"]]
    ours, *others = found["arms"]
    lines = [f"| times clbench | {' | '.join(f'T = {n:,}' for n in lengths)} |"]
    lines += ["| --- |" + " ---: |" * len(lengths)]
    for arm in others:
        if arm["seconds"]:
            cells = []
            for n in lengths:
                parts = last_tenth(arm["seconds"], n), last_tenth(ours["seconds"], n)
                cells.append("–" if None in parts else f"{parts[0] / parts[1]:.2f}")
            lines.append(f"| {arm['name']} | {' | '.join(cells)} |")
    return [*lines, ""]


def targets(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The targets, the measurements, and whether each target is met."""
    lines = ["| target | measured | |", "| --- | --- | --- |"]
    for name, wanted, values in _aims(parts):
        measured = ", ".join(f"{where}: {value:.2f}" for where, value in values)
        if values:
            met = all(value >= wanted for _, value in values)
            lines.append(f"| {name} | {measured} | {'met' if met else '**missed**'} |")
    return [*lines, ""]


def _aims(
    parts: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, float, list[tuple[str, float]]]]:
    def compare(part: str, other: str, n: int, ours: str = "clbench") -> Any:
        arms = {arm["name"]: arm["seconds"] for arm in parts[part]["arms"]} if part in parts else {}
        values = [last_tenth(arms.get(name, ()), n) for name in (other, ours)]
        return None if None in values else values[0] / values[1]

    def known(**of: float | None) -> list[tuple[str, float]]:
        return [(name.replace("_", " "), value) for name, value in of.items() if value is not None]

    peer, hand, batched = "Avalanche", "by hand", "clbench, batched Fisher"
    by_hand = [(f"{p}", compare(p, hand, n)) for p in TITLES for n in (1000, 200, 100, 50)]
    first: dict[str, float] = {}
    for part, value in by_hand:
        if value is not None:
            first.setdefault(part, value)
    return [
        (
            "naive: Avalanche / clbench ≥ 4",
            4,
            known(task_100=compare("naive", peer, 100), task_1000=compare("naive", peer, 1000)),
        ),
        (
            "EWC separate, task 100: Avalanche / clbench ≥ 50",
            50,
            known(
                exact_Fisher=compare("ewc separate", peer, 100),
                batched_Fisher=compare("ewc separate", peer, 100, ours=batched),
            ),
        ),
        (
            "full accuracy row and learning, task 100: Avalanche / clbench ≥ 100",
            100,
            known(task_100=compare("row", peer, 100), task_200=compare("row", peer, 200)),
        ),
        ("by hand / clbench ≥ 1, at the last length that both reach", 1, [*first.items()]),
    ]


def draw(parts: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Milliseconds per task against the task's number, a panel for each part."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.6), layout="constrained")
    axes = list(figure.subplots(2, 3, sharex=True, sharey=True).flat)
    for (part, found), at in zip(parts.items(), axes, strict=False):
        for arm in found["arms"]:
            if arm["seconds"]:
                number, median = curve(arm["seconds"])
                at.plot(number, 1e3 * median, label=arm["name"], **LOOKS[arm["name"]])
        at.set(xscale="log", yscale="log", title=TITLES[part].replace(", eval", ",\neval"))
        at.grid(alpha=0.3)
    for at in axes[len(parts) :]:
        at.set_axis_off()
    for at in axes[::3]:
        at.set_ylabel("ms a task (median)")
    for at in axes[2:5]:
        at.set_xlabel("task")
        at.tick_params(labelbottom=True)
    lines = {line.get_label(): line for at in axes for line in at.get_lines()}
    axes[-1].legend(handles=lines.values(), loc="center", frameon=False, fontsize=12)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def write(out: Path, names: Sequence[str], docs: Path | None) -> None:
    """Rewrite the generated part of the page, and the figure."""
    docs = docs or DOCS
    files = {name: out / f"{name.replace(' ', '_')}.json" for name in names}
    parts = {name: json.loads(f.read_text()) for name, f in files.items() if f.exists()}
    if not parts:
        raise SystemExit(f"{out}: nothing has been measured yet")
    words = ["scenario=scole", "data=digits", "strategy=naive,ewc,er"]
    command = "<!-- command: python benchmarks/long_streams.py -->"
    marker = f"<!-- resolved: {' '.join(words)} -->"
    lines = ["", command, "", marker, *resolved(words), "", *targets(parts)]
    for name, found in parts.items():
        lines += [*table(name, found), *ratios(name, found)]
    some = {(p["machine"], json.dumps(p["versions"]), p["python"]) for p in parts.values()}
    for machine, versions, python in sorted(some):
        named = ", ".join(f"{k} {v}" for k, v in json.loads(versions).items())
        lines += [f"Measured with {named}, Python {python}, on {machine}, one thread.", ""]
    path = docs / "long_streams.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise SystemExit(f"{path.name}: has not both marks, {MARKS[0]} and {MARKS[1]}")
    text = "\n".join(lines)
    write_atomically(path, f"{before}{begin}\n{text}\n{end}{after}".encode())
    draw(parts, docs / "long_streams.png")
