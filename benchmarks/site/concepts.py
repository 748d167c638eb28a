"""Draws the pictures of the concepts: SVG files, light and dark, for the site and for the repository.

    python -m benchmarks.site.concepts            writes docs/concepts/*.svg

What they show of runs comes from ``docs/plugins/examples.json``; the others are diagrams. A test
compares the files with what is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.site import figures, runs
from clbench.plugins.registry import plugins
from clbench.util.svg import Axis, figure, grid
from clbench.util.text import as_html

FOLDER = Path(__file__).parents[2] / "docs" / "concepts"
STYLE = FOLDER.parent / "assets" / "figures.css"
NAMED = {
    "naive",
    "joint",
    "er",
    "derpp",
    "ewc",
    "slda",
    "gdumb",
    "icarl",
    "lwf",
    "xder",
    "mir",
    "scr",
}
"""Strategies that the picture of costs names."""


def box(x: int, y: int, width: int, lines: Sequence[str], style: str = "", code: int = 0) -> str:
    """A box with a head and lines below it; the last ``code`` of them are code."""
    parts = [
        f'<rect class="box {style}" x="{x}" y="{y}" width="{width}" '
        f'height="{18 + 19 * len(lines)}" rx="6"/>'
    ]
    for at, line in enumerate(lines):
        kind = "head" if at == 0 else "code" if at >= len(lines) - code else "soft"
        parts.append(
            f'<text class="{kind}" x="{x + width / 2:g}" y="{y + 23 + 19 * at}" '
            f'text-anchor="middle">{as_html(line)}</text>'
        )
    return "".join(parts)


def arrow(*points: tuple[int, int]) -> str:
    """An arrow through points, straight lines all."""
    (x, y), (a, b) = points[-2:]
    path = " ".join(f"{p},{q}" for p, q in points)
    if a == x:
        up = 1 if b > y else -1
        tip = f"{a},{b} {a - 5},{b - 8 * up} {a + 5},{b - 8 * up}"
    else:
        on = 1 if a > x else -1
        tip = f"{a},{b} {a - 8 * on},{b - 5} {a - 8 * on},{b + 5}"
    return f'<polyline class="arrow" points="{path}"/><polygon class="tip" points="{tip}"/>'


def note(x: float, y: float, text: str, style: str = "soft", anchor: str = "middle") -> str:
    """A line of text."""
    return (
        f'<text class="{style}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{as_html(text)}</text>'
    )


def run_picture(found: Any) -> str:
    """Words become settings, a stream and a strategy, and a record."""
    parts = [
        box(10, 70, 170, ["words", "command line, file", "scenario=scole"], code=1),
        arrow((180, 108), (214, 108)),
        box(214, 70, 150, ["settings", "every default filled in", "seed, hash"]),
        arrow((364, 108), (398, 90)),
        arrow((364, 108), (398, 156)),
        '<rect class="frame" x="386" y="14" width="200" height="216" rx="8"/>',
        box(398, 44, 176, ["stream", "which samples, when"], "a"),
        box(398, 138, 176, ["strategy", "learn, then forward"], "b"),
        arrow((450, 100), (450, 138)),
        note(458, 122, "an experience", anchor="start"),
        note(486, 218, "then: evaluation"),
        arrow((586, 108), (620, 108)),
        box(620, 70, 150, ["record", "counts, metrics, costs", "record.json"], "c", code=1),
    ]
    return figure("concept", 780, 244, "A run: from words to a record", parts)


def stream_picture(found: Any) -> str:
    """Two streams, as they really are: which classes come in which task."""
    parts = []
    for at, name in enumerate(("class_incremental", "scole")):
        words = runs.scenario_words(name, runs.LEARNERS[0])
        drawn = found["streams"][runs.command(words)]
        inner = figures.stream(drawn, 12)
        body = inner[inner.index(">") + 1 : inner.rindex("</svg>")]
        parts.append(note(72, 16 + 186 * at, name, "code", "start"))
        parts.append(f'<g transform="translate(0 {16 + 186 * at})">{body}</g>')
    return figure("concept", 760, 384, "Classes by task, of two scenarios", parts)


def strategy_picture(found: Any) -> str:
    """The training loop and the five methods that a subclass may override."""
    parts = [
        box(10, 74, 120, ["experience", "x, y, key"], "a"),
        arrow((130, 102), (168, 102)),
        '<rect class="frame" x="154" y="14" width="476" height="168" rx="8"/>',
        note(392, 34, "learn: a GradientStrategy owns this loop"),
        box(168, 74, 92, ["begin", "before"], "b"),
        arrow((260, 102), (280, 102)),
        box(280, 74, 60, ["draw", "batch"], "b"),
        arrow((340, 102), (360, 102)),
        box(360, 74, 54, ["loss", "of it"], "b"),
        arrow((414, 102), (434, 102)),
        box(434, 74, 58, ["step", "update"], "b"),
        arrow((492, 102), (512, 102)),
        box(512, 74, 106, ["consolidate", "after"], "b"),
        arrow((463, 130), (463, 154), (310, 154), (310, 130)),
        note(386, 172, "for every batch"),
        arrow((565, 130), (565, 222)),
        box(470, 222, 190, ["state_dict()", "all that it remembers"], "c"),
        arrow((470, 250), (400, 250)),
        box(230, 222, 170, ["forward(x)", "scores of all classes"]),
        arrow((230, 250), (150, 250)),
        box(20, 222, 130, ["evaluation", "the whole world"]),
    ]
    return figure("concept", 680, 290, "The loop of a strategy", parts)


def record_picture(found: Any) -> str:
    """The task × task matrix of a real run, and the metrics that are read from it."""
    run = found["runs"][runs.command(runs.strategy_words("er"))]
    side, n = 52, len(run["matrix"])
    parts = figures.matrix(run["matrix"], side)
    end = 14 + (n - 1) * side - 1
    parts.append(
        f'<rect class="mark" x="58" y="{end - 1}" width="{n * side + 2}" height="{side + 2}"/>'
    )
    for at in range(n):
        parts.append(
            f'<circle class="arrow" cx="{60 + (at + 0.5) * side - 1:g}" '
            f'cy="{14 + (at + 0.5) * side - 1:g}" r="20"/>'
        )
    metrics = run["metrics"]

    def value(name: str) -> str:
        return f"{100 * metrics[name]:.1f}"

    x = 100 + n * side
    learning = f"learning accuracy {value('learning_accuracy')}: mean of the circles"
    forgetting = f"forgetting {value('forgetting')}: what is lost since the best"
    parts += [
        note(x, 60, learning, "head", "start"),
        note(x, 84, "each task right after it was learnt", "soft", "start"),
        note(x, 134, forgetting, "head", "start"),
        note(x, 158, "down each column, of all tasks but the last", "soft", "start"),
        note(
            x, end + 24, f"world accuracy {value('world_accuracy')}: the last row", "head", "start"
        ),
        note(x, end + 44, "all samples alike, after the last task", "soft", "start"),
    ]
    return figure("concept", 740, 60 + n * side, "Accuracy on each task after each task", parts)


def cost_picture(found: Any) -> str:
    """World accuracy against operations of training, of every strategy's example on one stream."""
    stream = "scenario=class_incremental"
    points = {}
    for name in plugins("strategy"):
        words = runs.strategy_words(name)
        run = found["runs"][runs.command(words)]
        plain = not any(word.startswith("model") for word in words)
        if words[0] == stream and plain and run["cost"]["train_flops"]:
            points[name] = (run["cost"]["train_flops"], run["metrics"]["world_accuracy"])
    width, height = 760, 380
    costs = [cost for cost, _ in points.values()]
    x = Axis(min(costs) / 1.6, max(costs) * 2.2, 52, width - 12, log=True)
    y = Axis(0.0, 1.0, height - 46, 12)
    parts = grid(
        x, y, "operations of training (log)", "world accuracy %", lambda value: f"{value:.0e}"
    )
    for name, (cost, accuracy) in points.items():
        style = "b" if name in ("naive", "joint") else ""
        parts.append(
            f'<circle class="dot {style}" cx="{x(cost)}" cy="{y(accuracy)}" r="4">'
            f"<title>{name}</title></circle>"
        )
    placed: list[tuple[float, float]] = []
    for name in sorted(NAMED & set(points), key=lambda name: (points[name][1], name)):
        a, b = x(points[name][0]) + 7, y(points[name][1]) + 4
        while any(abs(a - p) < 62 and abs(b - q) < 13 for p, q in placed):
            b -= 3
        placed.append((a, b))
        parts.append(note(a, b, name, "b" if name in ("naive", "joint") else "", "start"))
    return figure("concept", width, height, "Accuracy against operations of training", parts)


def board_picture(found: Any) -> str:
    """From an entry's claims to a rank."""
    parts = [
        box(10, 30, 150, ["an entry", "records and source:", "claims"]),
        arrow((160, 68), (194, 68)),
        box(194, 30, 150, ["clbench validate", "every rule of the", "board holds"], "a"),
        arrow((344, 68), (378, 68)),
        box(
            378, 30, 170, ["clbench verify", "runs it again, isolated,", "and with fresh data"], "b"
        ),
        arrow((548, 68), (582, 68)),
        box(582, 30, 170, ["the ledger", "the verifier's counts", "and costs"], "c"),
        arrow((667, 105), (667, 138)),
        note(170, 138, "self-reported"),
        arrow((85, 105), (85, 134), (120, 134)),
        note(332, 138, "validated", anchor="end"),
        arrow((269, 105), (269, 124)),
        note(760, 156, "ranks are ranges (this example is invented)", anchor="end"),
    ]
    x = Axis(1, 5, 420, 640)
    for at, (name, low, high) in enumerate((("A", 1, 2), ("B", 1, 3), ("C", 2, 3), ("D", 4, 4))):
        y = 190 + 24 * at
        parts.append(note(x(1) - 24, y + 4, name, "head"))
        parts.append(
            f'<line class="line a" x1="{x(low) - 5:g}" x2="{x(high) + 5:g}" y1="{y}" y2="{y}" '
            'style="stroke-width: 8"/>'
        )
        said = f"rank {low}" if low == high else f"rank {low} to {high}"
        parts.append(note(x(4) + 30, y + 4, said, anchor="start"))
    for rank in range(1, 5):
        parts.append(note(x(rank), 292, str(rank)))
    parts.append(note(30, 200, "Entries that differ by no more than", "", "start"))
    parts.append(note(30, 220, "chance share their ranks: paired t-tests", "", "start"))
    parts.append(note(30, 240, "over seeds, adjusted for their number.", "", "start"))
    return figure("concept", 764, 304, "From claims to ranks", parts)


PICTURES: dict[str, Callable[[Any], str]] = {
    "run": run_picture,
    "stream": stream_picture,
    "strategy": strategy_picture,
    "record": record_picture,
    "cost": cost_picture,
    "board": board_picture,
}


def drawn(name: str) -> str:
    """The whole file of a picture."""
    svg = PICTURES[name](runs.read())
    head, _, rest = svg.partition(">")
    style = STYLE.read_text(encoding="utf-8")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>\n{style}</style>{rest}\n'


def inline(text: str) -> str:
    """A picture for a page that has the style itself."""
    before, _, rest = text.partition("<style>")
    return before + rest.partition("</style>")[2].strip()


def main() -> None:
    """Write all pictures."""
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(drawn(name), encoding="utf-8")


if __name__ == "__main__":
    main()
