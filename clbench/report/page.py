"""A report: the arms of a folder of runs as one page with tables, plots and details."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from clbench.leaderboard.pages.page import group, style
from clbench.report import drawing, measures
from clbench.report.panel import panel
from clbench.results import tables
from clbench.results.arms import Arm, by_arm, settings_of
from clbench.results.columns import Column
from clbench.results.panel_kinds import is_cumulative
from clbench.results.record import Record
from clbench.results.repeats import short
from clbench.results.summary import Row, rows_of
from clbench.util import page
from clbench.util.text import as_html, as_json, clean, counted

SKIP = ("table", "Skip to the table")
N_STYLES = 8
VISIBLE = 10
"""Lines of a scenario that are shown at first: those of the best."""
MOST_FAILURES = 50
MOST_SETTINGS = 40


@dataclass(frozen=True)
class Shown:
    """An arm as the page shows it."""

    id: str
    arm: Arm
    row: Row
    records: list[Record]
    """Completed ones."""
    style: str

    @property
    def headline(self) -> float | None:
        """Accuracy on the whole world at the end."""
        return self.row.values["world_accuracy"].mean


def to_html(title: str, records: Sequence[Record], damaged: Sequence[str] = ()) -> str:
    """The page.

    Args:
        title: of the folder.
        records: of its runs, each once.
        damaged: a line for each record that could not be read.
    """
    arms = _arms(records)
    shown = [c for c in tables.columns_of(s.row.values for s in arms) if c.main or _is_special(c)]
    scenarios = [*dict.fromkeys(s.arm.scenario for s in arms)]
    by_scenario = {name: [s for s in arms if s.arm.scenario == name] for name in scenarios}
    body = [
        f'<h1>{as_html(title)}</h1><p class="lead">{_lead(records, arms, scenarios)}</p>',
        _failures(records, damaged),
        f'<h2 id="table">Arms</h2>{_controls(scenarios)}{_table(by_scenario, shown)}'
        f"{_notes(arms, shown)}",
        *(_scenario(name, own) for name, own in by_scenario.items()),
        _differing(by_scenario),
        f'<h2>Environment</h2>{_environments(records)}<h2 id="arms">Details</h2>'
        f'<p class="quiet">Heat maps: {drawing.scale()}</p>',
        *(panel(s.id, s.arm, s.row, s.records) for s in arms),
        "<footer>Made by clbench report from the records of the runs.</footer>",
    ]
    data = f'<script type="application/json" id="data">{as_json(_data(arms, shown))}</script>'
    css = f"{style()}\n{_asset('report.css')}"
    main = "\n".join(body)
    return page.document(title, f"<main>\n{main}\n</main>", css, _asset("report.js"), data, SKIP)


def _arms(records: Sequence[Record]) -> list[Shown]:
    """All arms, scenario by scenario, the best first."""
    arms = by_arm(records)
    rows = rows_of(arms)
    scenarios = [*dict.fromkeys(arm.scenario for arm in arms)]

    def key(pair: tuple[Arm, Row]) -> tuple[int, float, str]:
        mean = pair[1].values["world_accuracy"].mean
        return scenarios.index(pair[0].scenario), 1.0 if mean is None else -mean, pair[0].name

    found, places = [], Counter[str]()
    for number, (arm, row) in enumerate(sorted(zip(arms, rows, strict=True), key=key)):
        place = places[arm.scenario]
        places[arm.scenario] += 1
        look = f"k{place % N_STYLES} d{place // N_STYLES % 4}"
        found.append(Shown(f"a{number}", arm, row, measures.done(arm), look))
    return found


def _is_special(column: Column) -> bool:
    return column.key == "average_incremental_accuracy"


def _lead(records: Sequence[Record], arms: Sequence[Shown], scenarios: Sequence[str]) -> str:
    status = Counter(str(r.status) for r in records)
    told = ", ".join(f"{n} {as_html(name)}" for name, n in status.most_common())
    last = max((r.finished for r in records), default="")[:16].replace("T", " ")
    return (
        f"{counted(len(records), 'run')} ({told}) of {counted(len(arms), 'arm')} in "
        f"{counted(len(scenarios), 'scenario')}; the last one ended {as_html(last)} UTC. "
        "An arm is what differs in the seed only."
    )


def _failures(records: Sequence[Record], damaged: Sequence[str]) -> str:
    lines = []
    for record in records:
        if record.status != "completed":
            error = record.error or {"type": "", "message": ""}
            what = f"{error['type']}: {error['message']}".strip(": ")
            names = [record.config[g]["name"] for g in ("scenario", "strategy")]
            lines.append(f"{' '.join(names)} seed {record.seed}: {record.status} {what}")
    lines += damaged
    if not lines:
        return ""
    items = "".join(f"<li>{as_html(line, 300)}</li>" for line in lines[:MOST_FAILURES])
    more = len(lines) - MOST_FAILURES
    items += f"<li>and {more} more</li>" if more > 0 else ""
    return f'<h2>Not completed</h2><ul class="notes">{items}</ul>'


def _controls(scenarios: Sequence[str]) -> str:
    options = "".join(f'<option value="{as_html(v)}">{as_html(v)}</option>' for v in scenarios)
    return (
        '<form class="controls" id="controls" hidden>'
        '<label>Find<input type="search" name="q" placeholder="strategy, setting, data" '
        'autocomplete="off"></label><label>Scenario<select name="scenario">'
        f'<option value="">all</option>{options}</select></label>'
        '<output name="count" aria-live="polite"></output></form>'
    )


def _table(by_scenario: dict[str, list[Shown]], shown: Sequence[Column]) -> str:
    def head(key: str, title: str, first: str, kind: str = "", about: str = "") -> str:
        now = "descending" if key == "world_accuracy" else "none"
        hint = f' title="{as_html(about, 300)}"' if about else ""
        return (
            f'<th scope="col" class="{kind}" data-key="{key}" data-first="{first}" '
            f'aria-sort="{now}"><button type="button"{hint}>{as_html(title)}</button></th>'
        )

    heads = head("name", "strategy", "ascending", "entry")
    heads += head("n", "n", "descending", about="Completed seeds")
    for c in shown:
        first = "descending" if c.better == "higher" else "ascending"
        heads += head(c.key, c.title, first, about=c.help)
    groups = []
    for name, own in by_scenario.items():
        best = tables.best([s.row for s in own], shown)
        rows = []
        for at, s in enumerate(own):
            cells = "".join(
                f'<td class="{"score" if (at, c.key) in best else ""}">'
                f"{as_html(tables.cell(c, s.row.values[c.key]))}</td>"
                for c in shown
            )
            failed = f' <span class="failed">+{len(s.row.failed)}</span>' if s.row.failed else ""
            rows.append(
                f'<tr data-arm="{s.id}"><th scope="row" class="entry"><a href="#{s.id}">'
                f"{as_html(s.arm.name, 120)}</a></th><td>{len(s.row.seeds)}{failed}</td>{cells}</tr>\n"
            )
        groups.append(group(name, f": {counted(len(own), 'arm')}", 2 + len(shown), "".join(rows)))
    return (
        '<div class="scroll" role="region" aria-label="Arms" tabindex="0"><table class="sorted">'
        f"<caption>Arms with {tables.INTERVAL}s over seeds; the buttons in the header sort"
        f"</caption>\n<thead><tr>{heads}</tr></thead>\n{''.join(groups)}</table></div>"
    )


def _notes(arms: Sequence[Shown], shown: Sequence[Column]) -> str:
    rows = [s.row for s in arms]
    notes = [("Numbers", f"{tables.INTERVAL} over n seeds; the best of a scenario is bold")]
    notes += tables.notes(rows, shown)
    items = "".join(f"<li><b>{as_html(t)}</b>: {as_html(d, 300)}</li>" for t, d in notes)
    return (
        f'<details class="notes"><summary>What the columns mean</summary><ul>{items}</ul></details>'
    )


def _scenario(name: str, own: Sequence[Shown]) -> str:
    """The plots of a scenario: over the stream, forgetting, and what accuracy costs."""
    known = [s for s in own if s.records]
    cumulative = bool(known) and all(is_cumulative(r) for s in known for r in s.records)
    over: list[drawing.Line] = []
    forgot: list[drawing.Line] = []
    for place, s in enumerate(known):
        late = place >= VISIBLE
        for found, (x, y) in (
            (over, measures.accuracy_line(s.records, cumulative)),
            (forgot, measures.forgetting_line(s.records)),
        ):
            if len(x) > 1:
                found.append(drawing.Line(s.id, s.arm.name, s.style, x, y, late))
    title = "accuracy % on the tasks so far" if cumulative else "world accuracy %"
    plots = [
        drawing.lines(over, "tasks" if cumulative else "experiences", title),
        drawing.lines(forgot, "task", "forgetting, points"),
    ]
    costs = [
        drawing.against(
            [
                drawing.Point(s.id, s.arm.name, s.style, scale * cost.mean, mean, half or 0.0)
                for s in known
                for cost, (mean, half, _) in [(s.row.values[key], s.row.values["world_accuracy"])]
                if cost.mean is not None and mean is not None
            ],
            text,
            "world accuracy %",
        )
        for key, scale, text in (
            ("state_bytes", 1e-3, "state kB"),
            ("train_flops", 1e-9, "train GFLOP"),
        )
    ]
    if not any((*plots, *costs)):
        return ""
    legend = "".join(
        f'<li><button type="button" data-arm="{s.id}" '
        f'aria-pressed="{"false" if place >= VISIBLE else "true"}">'
        f'<svg viewBox="0 0 22 8" aria-hidden="true"><path class="line {s.style}" d="M0 4H22"/></svg>'
        f"{as_html(s.arm.name, 60)}</button></li>"
        for place, s in enumerate(known)
    )
    figures = "".join(
        f'<figure><div class="curves-box">{plot}</div></figure>' for plot in plots if plot
    )
    pair = "".join(f"<figure>{plot}</figure>" for plot in costs if plot)
    return (
        f'<section data-scenario="{as_html(name)}"><h2>{as_html(name)}</h2>'
        f'<ul class="legend" aria-label="Arms: press to show or hide">{legend}</ul>{figures}'
        f'<div class="pair">{pair}</div><p class="quiet">Means over seeds; bars are 95 % intervals.'
        "</p></section>"
    )


def _differing(by_scenario: dict[str, list[Shown]]) -> str:
    """Of each scenario, the settings in which its arms differ."""
    out = []
    for name, own in by_scenario.items():
        settings = {s.id: settings_of(s.arm.records[0].config) for s in own}
        keys = [*dict.fromkeys(key for found in settings.values() for key in found)]
        varied = [k for k in keys if len({str(s.get(k, "–")) for s in settings.values()}) > 1]
        varied = [k for k in varied if k != "strategy.name"]  # which names the row
        if not varied:
            continue
        more = len(varied) - MOST_SETTINGS
        varied = varied[:MOST_SETTINGS]
        heads = "".join(f'<th scope="col">{as_html(k, 60)}</th>' for k in varied)
        rows = "".join(
            f'<tr data-arm="{s.id}"><th scope="row" class="entry">{as_html(s.arm.name, 60)}</th>'
            + "".join(f"<td>{as_html(_setting(settings[s.id], k), 40)}</td>" for k in varied)
            + "</tr>\n"
            for s in own
        )
        cut = f'<p class="quiet">and {more} more settings</p>' if more > 0 else ""
        out.append(
            f'<section data-scenario="{as_html(name)}"><h3>{as_html(name)}</h3>'
            '<div class="scroll" role="region" aria-label="Settings that differ" tabindex="0"><table>'
            f'<thead><tr><th scope="col" class="entry">strategy</th>{heads}</tr></thead><tbody>'
            f"{rows}</tbody></table></div>{cut}</section>"
        )
    return f"<h2>Settings that differ</h2>{''.join(out)}" if out else ""


def _setting(settings: dict[str, object], key: str) -> str:
    return short(settings[key]) if key in settings else "–"


def _environments(records: Sequence[Record]) -> str:
    keys = ("python", "torch", "numpy", "system", "machine", "device", "accelerator", "threads")
    found = Counter(
        (
            str(r.code["clbench"]),
            (str(r.code["commit"] or "")[:8] + ("+" if r.code["dirty"] else "")) or "–",
            *(str(r.environment[k] if r.environment[k] is not None else "–") for k in keys),
        )
        for r in records
    )
    heads = "".join(f'<th scope="col">{k}</th>' for k in ("runs", "clbench", "commit", *keys))
    rows = "".join(
        f"<tr><td>{n}</td>{''.join(f'<td>{as_html(v, 40)}</td>' for v in values)}</tr>\n"
        for values, n in found.most_common()
    )
    return (
        '<div class="scroll" role="region" aria-label="Environments" tabindex="0"><table><thead><tr>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _data(arms: Sequence[Shown], shown: Sequence[Column]) -> dict[str, object]:
    """What the script sorts and filters by."""
    entries = {}
    for s in arms:
        config = s.arm.records[0].config
        words = [s.arm.scenario, s.arm.name, *(config[g]["name"] for g in ("data", "model"))]
        values = {c.key: s.row.values[c.key].mean for c in shown}
        entries[s.id] = {
            "name": clean(s.arm.name, 120).lower(),
            "scenario": clean(s.arm.scenario),
            "text": clean(" ".join(map(str, words)), 400).lower(),
            "values": {
                "n": len(s.row.seeds),
                **{k: None if v is None else float(f"{v:.8g}") for k, v in values.items()},
            },
        }
    return {"arms": entries}


@cache
def _asset(name: str) -> str:
    return (files("clbench.report") / "assets" / name).read_text(encoding="utf-8").strip()
