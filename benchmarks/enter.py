"""Enters the built-in strategies on a board: tunes each by the board's rules, runs all seeds, submits.

    python -m benchmarks.enter long-digits [--boards leaderboards] [--out runs] [--only er,ewc]

What is there already is not done again, so a stopped series goes on by the same words. A strategy is
named and left out if it does not fit the board, if its run costs more CPU time than ``--seconds``, or
if all its trials go beyond the budget.
"""

from __future__ import annotations

import argparse
import ast
import re
import time
from pathlib import Path
from typing import NamedTuple

from clbench.configure.board import Board, find_board
from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.engine.build import prepare
from clbench.engine.builds import FIX
from clbench.engine.execute import Options, record_of
from clbench.errors import ClbenchError
from clbench.leaderboard.submit import submit
from clbench.leaderboard.tune import is_within, tune
from clbench.plugins.registry import plugins
from clbench.results.record import write_atomically
from clbench.sweeps.local import run_all
from clbench.util import yaml_files
from clbench.util.files import read_yaml

ARMS = {"kanerva-replay": ("strategy=kanerva", "strategy.mode=replay")}
"""Entries besides those that are called as their strategy."""
CHEAPER = {"ewc-empirical": ("strategy=ewc", "strategy.fisher=empirical")}
"""Arms for boards on which a strategy's defaults are too dear; entered where ``--only`` names them."""


class Timed(NamedTuple):
    """What a first trial showed."""

    seconds: float
    """CPU time that a whole run will take."""
    ended: bool
    """Whether the trial came to its end within the budget, so that a primary of 0 is a result."""
    why: str = ""
    """Why the strategy does not fit the board; empty if it does."""


def words_of(name: str) -> tuple[str, ...]:
    """The words of an entry by its name."""
    return {**ARMS, **CHEAPER}.get(name, (f"strategy={name}",))


def trial(words: list[str], board: Board, out: Path) -> Timed:
    """Time a first trial.

    Timed are the tasks of one trial of tuning, with the defaults; what a task costs is taken to stay
    as it is there, and the set-up of a run is left out. The record has seconds by the clock; they count
    by the share of the processor that this process had meanwhile. That it goes beyond the budget is
    no reason: other settings may not.
    """
    words = [*words, f"seed={board.tuning_seeds[0]}", "evaluate_on=val"]
    try:
        n_tasks = prepare(resolve_point(sweep(words)[0])).stream.n_tasks
        assert n_tasks is not None  # a board's streams have an end
        n_timed = min((board.tuning and board.tuning.tasks) or n_tasks, n_tasks)
        started, at = time.process_time(), time.perf_counter()
        options = Options(out=out / "timed", overwrite=True, quiet=True, curve=False)
        [done] = run_all(sweep([*words, f"max_tasks={n_timed}"]), options)
        record = record_of(done)
    except ClbenchError as error:
        return Timed(0.0, False, f"does not fit: {error}")
    cpu, elapsed = time.process_time() - started, time.perf_counter() - at
    parts = [record.cost[f"{part}_seconds"] for part in ("train", "predict", "harness")]
    # Of a run that was ended in the middle of a task, not all are known: then all that it took.
    seconds = cpu if None in parts else sum(parts) * min(cpu / elapsed, 1.0)
    why = str((record.error or {}).get("message", "")) if record.status == "error" else ""
    return Timed(seconds * n_tasks / n_timed, is_within(board, record), why)


def about(path: Path) -> tuple[str, str]:
    """The first sentence of a plug-in's docstring, and the address of the paper named right after it.

    Papers named further below are of details.
    """
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first, *rest = text.split("\n\n")
    paper = re.search(r"arXiv[:\s]+(\d{4}\.\d{4,5})", "".join(rest[:1]))
    return " ".join(first.split())[:300], f"https://arxiv.org/abs/{paper[1]}" if paper else ""


def enter(board: Board, name: str, words: list[str], ended: bool, root: Path, out: Path) -> str:
    """Tune, run and submit one strategy; returns what came of it.

    It is left out where no trial has a primary above 0 and the first did not come to its end within
    the budget either (``ended``): then none did.
    """
    options = Options(out=out, resume=True, quiet=True, curve=False)
    trials, table = tune(words, options, lambda line: None)
    if not ended and not any(value for trial in trials["results"] for value in trial["values"]):
        return "left out, no trial ended within the board's budget"
    arms = set()
    for done in run_all(sweep([*words, f"tuned={table}"]), options):
        record = record_of(done)
        if record.status == "interrupted":
            raise KeyboardInterrupt
        arms.add(done.folder.parent)
    [arm] = arms
    submit(arm, name, root)
    path = board.entries / name / "entry.yaml"
    description, url = about(plugins("strategy")[name.partition("-")[0]].path)
    text = {**read_yaml(path), "authors": ["clbench maintainers"], "url": url}
    text |= {
        "name": name,
        "description": description,
        "declaration": dict.fromkeys(text["declaration"], True),
    }
    write_atomically(path, yaml_files.dump(text, allow_unicode=True).encode())
    return "entered"


def main() -> None:
    """Go through the strategies, the cheapest first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("board")
    parser.add_argument("--boards", type=Path, default=Path("leaderboards"))
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--only", default="", help="strategies, by commas (default: all)")
    parser.add_argument("--seconds", type=float, default=20.0, help="dearest run (default: 20)")
    given = parser.parse_args()
    board = find_board(given.board, given.boards)
    names = given.only.split(",") if given.only else sorted([*plugins("strategy"), *ARMS])
    costs = []
    for name in names:
        if (board.entries / name / "entry.yaml").exists():
            continue
        for division in ([], ["division=any"]):
            words = [f"board={board.folder}", *words_of(name), *division]
            timed = trial(words, board, given.out)
            if FIX not in timed.why:
                break
        print(f"{name}: {timed.why or f'{timed.seconds:.1f} s a run'}", flush=True)
        if timed.seconds > given.seconds:
            print(f"{name}: left out, dearer than {given.seconds:g} s", flush=True)
        elif not timed.why:
            costs.append((timed.seconds, name, words, timed.ended))
    for _, name, words, ended in sorted(costs):
        try:
            outcome = enter(board, name, words, ended, given.boards, given.out)
        except ClbenchError as error:
            outcome = f"left out: {error}"
        print(f"{name}: {outcome}", flush=True)


if __name__ == "__main__":
    main()
