"""The scenario synbols: what drifts, what stays, and which factor hurts."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import clbench
from clbench.cli import main
from clbench.configure.config import resolve_point
from clbench.data.sets.synbols import Synbols
from clbench.data.synbols.drifts import DRIFTS, drifting
from clbench.data.synbols.pool import SynbolsPool
from clbench.data.synbols.redraw import Redraw
from clbench.data.synbols.spec import PRESETS
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.reproduce.held_out import unseen
from clbench.results.record import Record
from clbench.stream import Stream

pytestmark = pytest.mark.usefixtures("shared_cache")
CPU = torch.device("cpu")
SMALL = Synbols(
    preset="default-bw",
    n_train=300,
    n_test=60,
    alphabets=("digits",),
    fonts="DejaVu Sans*",
    gray=True,
    resolution=16,
)
LINE = "rotation=0>1.5"
WORDS = [
    f"data.{name}={value}"
    for name, value in (
        ("preset", "default-bw"),
        ("n_train", 300),
        ("n_test", 60),
        ("alphabets", "[digits]"),
        ("fonts", "DejaVu Sans*"),
        ("gray", "true"),
        ("resolution", 16),
    )
]


@cache
def pool(store: bool = True) -> SynbolsPool:
    return dataclasses.replace(SMALL, store=store).pool(CPU)


def make(seed: int = 0, store: bool = True, **settings: object) -> Stream:
    point = {f"scenario.{k}": v for k, v in settings.items()}
    config = resolve_point({"scenario": "synbols", "strategy": "naive", **point})
    stream: Stream = config.scenario.stream(pool(store), seed)
    return stream


def attributes(stream: Stream, domain: int, index: np.ndarray):  # type: ignore[no-untyped-def]
    assert isinstance(stream.transform, Redraw)
    return stream.transform.bound("train", index).attributes(domain)


def test_classes_come_once_and_labels_swap_on_the_same_images():
    stream = make(classes_per_task=4)
    assert [len(stream.plan(t).classes) for t in range(3)] == [4, 4, 2]
    swap = make(kind="labels")
    fonts = pool().relabelled("font").n_classes
    assert (swap.n_classes, swap.task_ids, swap.disjoint) == (10 + fonts, True, True)
    char, font = swap.draw(0), swap.draw(1)
    n = len(char.index)
    order, other = np.argsort(char.index), np.argsort(font.index)
    assert n == pool().size("train")
    assert (font.index[other] - n == char.index[order]).all()
    assert torch.equal(swap.gather(char).x[order], swap.gather(font).x[other])
    assert (font.labels[other] - 10 == pool().relabelled("font").labels("train")).all()
    assert not set(char.keys) & set(font.keys)


def test_what_does_not_drift_stays():
    stream = make(kind="domains", drift=f"[{LINE}]")
    assert (stream.n_tasks, stream.n_domains) == (5, 5)
    index = np.arange(200)
    start, end = (attributes(stream, d, index) for d in (0, 4))
    assert np.allclose(start.rotation[:, 0], 0)
    assert np.allclose(end.rotation[:, 0], 1.5)
    for name in ("char", "font", "scale", "x_translation", "noise_seed", "inverse_color"):
        assert (getattr(start, name) == getattr(end, name)).all()
    assert (pool().labels("train")[index] == end.char[:, 0]).all()


def test_patterns_step_and_mix():
    drift = "[background=black>white>solid]"
    steps = make(kind="domains", drift=drift, n_tasks=6)
    assert [steps.plan(t).domain for t in range(6)] == [0, 0, 1, 1, 2, 2]
    index = np.arange(300)
    for d in range(3):
        assert len(set(attributes(steps, d, index).background)) == 1
    mixed = make(kind="domains", drift=drift, n_tasks=5, gradual="true")
    shares = [
        np.unique(attributes(mixed, d, index).background, return_counts=True)[1] / 300
        for d in range(5)
    ]
    assert [len(s) for s in shares] == [1, 2, 1, 2, 1]
    assert np.abs(shares[1] - 0.5).max() < 0.12  # of 300, four standard deviations


@pytest.mark.parametrize("name", DRIFTS)
def test_the_named_drifts_go_where_they_say(name: str):
    found = drifting(PRESETS["default"], DRIFTS[name], mixes=False)
    generator = dataclasses.replace(pool().generator, spec=found.spec)
    number = np.arange(500)
    first, last = (generator.attributes(number, np.full(500, t)) for t in (0.0, 1.0))
    for word in DRIFTS[name]:
        attribute = word.partition("=")[0]
        a, b = getattr(first, attribute), getattr(last, attribute)
        if attribute == "scale":
            assert (b < a).all()
        else:
            assert (b.reshape(500, -1)[:, 0] > a.reshape(500, -1)[:, 0]).mean() > 0.99


def test_drawn_anew_or_stored_it_is_the_same_stream():
    for settings in ({}, {"kind": "domains", "drift": f"[{LINE}]", "share": 0.2}):
        one, two = (make(store=store, **settings) for store in (True, False))
        assert one.sha256 == two.sha256
        assert torch.equal(one.experience(1).x, two.experience(1).x)
        assert torch.equal(one.world().x, two.world().x)


def test_spurious_ties_the_attribute_to_the_label_in_training_alone():
    stream = make(kind="spurious", drift="[background=black>white]", alignment=0.9)
    draw = stream.draw(0)
    assert draw.attribute is not None
    assert abs((draw.attribute == draw.labels % 2).mean() - 0.9) < 0.07
    task = stream.gather(draw)
    for a in (0, 1):
        rows = np.flatnonzero(draw.attribute == a)
        wanted = stream.transform.bound("train", draw.index[rows])(task.x[rows], a, None)  # type: ignore[union-attr]
        assert torch.equal(task.x[rows], wanted)
    assert stream.groups
    assert len(stream.cells) == 20
    assert len(set(np.bincount(stream.world().cell.numpy()).reshape(2, 10).T[0])) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "domains", "drift": "[rotaton=0>1]"}, "did you mean 'rotation'"),
        ({"kind": "domains", "drift": "[rotation=0]"}, "first>second"),
        ({"kind": "domains", "drift": "[scale=0.5>99]"}, "outside"),
        ({"kind": "domains", "drift": "[background=black>blak]"}, "did you mean 'black'"),
        ({"kind": "domains", "drift": "[background=black>0.5]"}, "one kind"),
        ({"kind": "domains", "n_tasks": 2}, "4 stops"),
        ({"kind": "domains", "classes_per_task": 2}, "has no effect with"),
        ({"kind": "labels", "n_tasks": 1}, "need 2 tasks"),
        ({"alignment": 0.5}, "has no effect with scenario.kind=classes"),
        ({"share": 0.5}, "has no effect with scenario.kind=classes"),
        ({"kind": "labels", "attribute": "rotation"}, "has no effect with scenario.kind=labels"),
        ({"kind": "domains", "alignment": 0.5}, "has no effect with scenario.kind=domains"),
        (
            {"kind": "domains", "attribute": "rotation", "drift": "[scale=1>2]"},
            "attribute has no effect with scenario.drift",
        ),
        ({"alignment": 1.5}, "[0, 1]"),
        ({"share": 0}, "(0, 1]"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], says: str):
    with pytest.raises(UsageError) as caught:
        make(**settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_needs_synbols():
    with pytest.raises(UsageError, match="data=synbols"):
        clbench.run("scenario=synbols", "strategy=naive", "data=digits", "model=mlp")


def test_the_record_says_which_factor_hurts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["scenario=synbols", "strategy=naive", "data=synbols", *WORDS, "model=mlp"]
    words += ["scenario.kind=domains", f"scenario.drift=[{LINE}]", "scenario.share=0.1"]
    assert main(["run", *words, "--out", str(tmp_path), "-q"]) == 0
    capsys.readouterr()
    [path] = tmp_path.rglob("record.json")
    record = Record.load(path)
    assert record.factors is not None
    brackets = record.factors["brackets"]
    rotation = [b for b in brackets if b["factor"] == "rotation"]
    assert [b["bracket"] for b in rotation] == ["0", "0.375", "0.75", "1.125", "1.5"]
    assert {b["size"] for b in rotation} == {60}
    assert "foreground" not in {b["factor"] for b in brackets}  # it is the same all through
    # Rotations are the domains here, so their counts are those of the cells.
    at = [k for k, b in enumerate(brackets) if b["factor"] == "rotation"]
    counts = record.to_counts()
    domain = np.array([cell["domain"] for cell in record.counts["cells"]])
    by_cells = np.stack([counts.correct[:, domain == d].sum(1) for d in range(5)], 1)
    assert np.array_equal(np.array(record.factors["correct"])[:, at], by_cells)
    assert main(["results", str(tmp_path), "--factors"]) == 0
    assert "| rotation |" in capsys.readouterr().out
    record.factors["correct"][-1][at[0]] += 1
    with pytest.raises((ClbenchError, ValueError), match=r"add up|outside"):
        record.check()


def test_a_film_strip_has_a_row_for_each_task(tmp_path: Path):
    from PIL import Image

    path = tmp_path / "film.png"
    words = ["data", "synbols", "--film", str(path), *WORDS, "scenario=synbols"]
    assert main([*words, "scenario.kind=domains", f"scenario.drift=[{LINE}]"]) == 0
    with Image.open(path) as sheet:
        assert sheet.height == 5 * (14 + 2 * 16 + 2)


def test_held_out_images_are_drawn_from_the_secret():
    one, again, other = (unseen(SMALL, secret, CPU) for secret in (b"a" * 16, b"a" * 16, b"b" * 16))
    assert one.sha256 == again.sha256
    assert len({one.sha256, other.sha256, pool().sha256}) == 3
    assert one.n_classes == pool().n_classes
    index = np.arange(50)
    assert not torch.equal(one.gather("train", index), other.gather("train", index))
    assert torch.equal(one.gather("train", index), again.gather("train", index))


def test_glyphs_are_pairs_of_character_and_font():
    glyphs = pool().relabelled("glyph")
    frame = pool().frame("train")
    pairs = {*zip(frame.char, frame.font, strict=True)}
    assert glyphs.n_classes == int((pool().generator.atlas.glyph[..., 0] >= 0).sum())
    assert len({*zip(frame.char, frame.font, glyphs.labels("train"), strict=True)}) == len(pairs)
