"""Strategies across boards, the answer at the top of a page, and the power of a board."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic
from scipy import stats
from synthetic import board as make_board

from clbench.configure.board import Board
from clbench.leaderboard.pages import answer, overview, svg
from clbench.leaderboard.pages.markdown import to_markdown
from clbench.leaderboard.pages.page import breakable
from clbench.leaderboard.pages.summary import EntryRow, SeedScore, rank, summarise
from clbench.leaderboard.ranking import critical_difference, power, significantly_better
from clbench.results.tables import t_interval


def row(slug: str, scores: list[float], strategy: str = "", **changes: object) -> EntryRow:
    seeds = tuple(SeedScore(k, s, "completed") for k, s in enumerate(scores))
    made = EntryRow(slug, slug, strategy or slug, "network", "reproduced", seeds=seeds)
    values = {"train_flops": t_interval([1.0]), "state_bytes": t_interval([1.0])}
    made = dataclasses.replace(made, primary=t_interval(scores), values=values)
    made = dataclasses.replace(made, is_evidence=True, n_verified=len(seeds))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def named(tmp_path: Path, name: str) -> Board:
    return make_board(tmp_path / name)


def test_only_pairs_that_differ_by_a_point_count() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        scores = generator.normal(0.8, 0.02, (7, 1)) + generator.normal(0, 0.01, (7, 6))
        better = significantly_better(scores)
        told = pairs = 0
        for i in range(7):
            for j in range(i):
                if abs(scores[i].mean() - scores[j].mean()) >= 0.01:
                    pairs += 1
                    told += bool(better[i, j] or better[j, i])
        assert power([scores]) == (told, pairs)
        assert power([scores[:3], scores[3:]]).n_pairs <= pairs  # divisions are apart
    assert power([]) == (0, 0)


def test_the_critical_difference_is_where_a_typical_pair_is_told_apart() -> None:
    generator = np.random.default_rng(1)
    noise = generator.normal(0, 0.01, (2, 10))
    least = critical_difference(noise)
    assert least is not None
    gap = noise[0] - noise[1]
    for factor, told in ((1.001, True), (0.999, False)):
        moved = np.array([gap - gap.mean() + factor * least, np.zeros(10)])
        assert significantly_better(moved)[0, 1] == told
    assert critical_difference(noise[:1]) is None
    assert critical_difference(noise[:, :1]) is None


def test_a_board_says_first_what_share_is_told_apart(tmp_path: Path) -> None:
    board = named(tmp_path, "a")
    rows = rank(
        board, [row("a", [0.9, 0.91, 0.92, 0.9, 0.9]), row("b", [0.5, 0.5, 0.51, 0.5, 0.5])]
    )
    assert "100 % are told apart (1 of 1; 5 seeds)" in answer.power_sentence(board, rows)
    first = to_markdown(board, rows).split("\n\n")[1]
    assert first.startswith(
        "Of the pairs of entries that differ by a percentage point or more, 100"
    )
    assert "No two entries" in answer.power_sentence(board, rows[:1])


def test_the_answer_says_who_leads_by_how_much_and_how_sure(tmp_path: Path) -> None:
    board = named(tmp_path, "a")
    clear = rank(
        board, [row("a", [0.9, 0.91, 0.92, 0.9, 0.9]), row("b", [0.5, 0.5, 0.51, 0.5, 0.5])]
    )
    said = answer.answer(board, clear)
    assert re.search(r"a leads with 90\.60 .* 40\.40 ± .* points above b", said)
    assert "no other entry may lead" in said
    close = rank(board, [row("a", [0.9, 0.7, 0.8, 0.9, 0.7]), row("b", [0.8, 0.8, 0.7, 0.8, 0.8])])
    assert "one other entry may lead as well" in answer.answer(board, close)
    assert "the only entry" in answer.answer(board, clear[:1])
    assert answer.answer(board, []) == answer.ranks(board, []) == ""
    claims = [dataclasses.replace(one, is_evidence=False) for one in close]
    assert "none leads; 2 are claimed" in answer.answer(board, claims)
    assert answer.ranks(board, claims) == ""
    assert not overview.lines([(board, claims)])


def test_every_ranked_entry_has_its_range_as_a_bar(tmp_path: Path) -> None:
    board = synthetic.showcase(tmp_path / "scole-digits", n_tasks=30)
    rows = summarise(board, synthetic.validate)
    page = answer.ranks(board, rows)
    ranked = [r for r in rows if r.is_evidence]
    assert re.findall(r'<li data-entry="([^"]+)"', page) == [r.slug for r in ranked]
    for r in ranked:
        assert r.rank_range is not None
        low, high = r.rank_range
        label = f"rank {low}" if low == high else f"rank {low} to {high}"
        assert f'aria-label="{label}"' in page
        line = page.partition(f'<li data-entry="{r.slug}"')[2].partition("</li>")[0]
        assert f">{100 * (r.primary.mean or 0):.2f} <small>" in line
        low, high = svg.domain(rows)
        anchors = (board.naive.mean, board.ceiling_of(r.division).mean)
        assert line.count('class="base" d="M') == 1 + sum(low <= v <= high for v in anchors)
    assert page.count("critical difference ") == 2  # network and open


def boards(tmp_path: Path, n: int) -> list[tuple[Board, list[EntryRow]]]:
    """Floor .1 and ceiling .901 each; ``er`` twice on each, ``ewc`` missing on the last."""
    found = []
    for k in range(n):
        board = named(tmp_path, f"b{k}")
        rows = [
            row("er-200", [0.6, 0.61, 0.62, 0.6, 0.6], "er"),
            row("er-1k", [0.7 + 0.01 * k, 0.71, 0.72, 0.7, 0.7], "er"),
            row("open", [0.99] * 5, "big", division="open"),
            row("lost", [0.99] * 5, "lost", errors=("C1 is wrong",)),
        ]
        found.append((board, rows if k == n - 1 else [*rows, row("ewc", [0.5] * 5)]))
    return found


def test_the_best_entry_of_a_strategy_counts_on_each_board(tmp_path: Path) -> None:
    given = boards(tmp_path, 6)
    er, ewc = overview.lines(given)
    assert (er.strategy, ewc.strategy) == ("er", "ewc")
    width = 0.901 - 0.1
    scores = [np.array([s.score for s in rows[1].seeds]) for _, rows in given]
    wanted = [(s.mean() - 0.1) / width for s in scores]
    assert [er.cells[f"b{k}"].score for k in range(6)] == pytest.approx(wanted)
    assert er.mean == pytest.approx(np.mean(wanted))
    squares = np.array([s.var(ddof=1) / 5 / width**2 for s in scores])
    freedom = squares.sum() ** 2 / (squares**2 / 4).sum()
    half = stats.t.ppf(0.975, freedom) * math.sqrt(squares.sum()) / 6
    assert er.half_width == pytest.approx(half)
    assert ewc.mean is None  # it is not on every board
    assert len(ewc.cells) == 5


def test_the_interval_covers(tmp_path: Path) -> None:
    """Of the mean over six boards of unequal noise, in 95 % of 2,000 draws."""
    generator = np.random.default_rng(3)
    names = [f"b{k}" for k in range(6)]
    noise = np.array([0.001, 0.002, 0.004, 0.01, 0.02, 0.03])
    drawn = generator.normal(0.5, noise[:, None], (2000, 6, 10))
    means, errors = drawn.mean(2), drawn.std(2, ddof=1) / math.sqrt(10)
    degrees = dict.fromkeys(names, 9)
    inside = 0
    for mean, error in zip(means, errors, strict=True):
        cells = {n: overview.Cell(m, e, n) for n, m, e in zip(names, mean, error, strict=True)}
        middle, half = overview._mean(cells, degrees, True)
        assert middle is not None
        assert half is not None
        inside += abs(middle - 0.5) <= half
    assert 0.935 < inside / 2000 < 0.965


def test_few_boards_have_no_mean(tmp_path: Path) -> None:
    given = boards(tmp_path, 2)
    assert all(line.mean is None for line in overview.lines(given))
    assert "With fewer than 6 boards there is no mean" in overview.to_html(given)
    assert overview.to_html([]) == overview.to_markdown([]) == ""


def test_the_heat_map_links_entries(tmp_path: Path) -> None:
    given = boards(tmp_path, 6)
    page = overview.to_html(given)
    assert page.count('class="heat h8') + page.count('class="heat h7') == 6  # er, about .75
    assert '<a href="b0/index.html#entry-er-1k">' in page
    assert "lost" not in page
    assert "big" not in page
    assert re.search(r"\| er \| \d\d\.\d ± 0\.\d \|", overview.to_markdown(given))


def test_a_narrow_column_breaks_names_after_underscores() -> None:
    assert breakable("shrink_and_<b>") == "shrink_<wbr>and_<wbr>&lt;b&gt;"
