"""Random numbers by counter, distributions, and the statistics of 100,000 sampled attributes."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clbench.data.synbols import fonts
from clbench.data.synbols.atlas import Atlas
from clbench.data.synbols.attributes import PATTERN_NAMES, Attributes, sample
from clbench.data.synbols.counter import Draws
from clbench.data.synbols.distributions import (
    Choice,
    Drift,
    LogNormal,
    Normal,
    Shift,
    Uniform,
    constant,
    parse,
)
from clbench.data.synbols.spec import PRESETS, Spec, changed, preset
from clbench.errors import UsageError

N = 100_000
SURE = 1e-4
"""The smallest p-value that is put down to chance; the numbers are fixed, so none flickers."""


def atlas_of(spec: Spec, n_fonts: int = 5) -> Atlas:
    """Blank pictures: font k lacks the first k characters."""
    characters = spec.characters
    glyph = np.arange(n_fonts * len(characters) * 2).reshape(n_fonts, len(characters), 2)
    for k in range(n_fonts):
        glyph[k, :k] = -1
    empty = np.zeros((0, 64, 64), dtype=np.uint8)
    names = tuple(f"font {k}" for k in range(n_fonts))
    return Atlas(
        empty, np.zeros((0, 4, 2)), np.zeros(0), glyph, np.array([7, 8, 9]), names, characters
    )


def drawn(spec: Spec, seed: int = 0, n: int = N) -> Attributes:
    return sample(spec, atlas_of(spec), seed, np.arange(n))


def even(values: np.ndarray, n: int) -> bool:
    counts = np.bincount(values, minlength=n)
    return len(counts) == n and (n == 1 or bool(stats.chisquare(counts).pvalue > SURE))


def follows(values: np.ndarray, cdf) -> bool:  # type: ignore[no-untyped-def]
    return bool(stats.kstest(values, cdf).pvalue > SURE)


def test_the_hash_is_splitmix64():
    # The first outputs of SplitMix64 seeded with 1234567, as published with the algorithm's tests.
    from clbench.data.synbols.counter import GOLDEN, mix

    state = np.array([(1234567 + GOLDEN * k) % 2**64 for k in (1, 2, 3)], dtype=np.uint64)
    assert mix(state).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_slots_children_seeds_and_numbers_are_independent_and_even():
    index = np.arange(20_000)
    families = [
        Draws.of(0, index).uniform(0),
        Draws.of(0, index).uniform(1),
        Draws.of(1, index).uniform(0),
        Draws.of(0, index).child(0).uniform(0),
        Draws.of(0, index).child(1).uniform(0),
        Draws.of(0, index + 1).uniform(0)[np.r_[1:20_000, 0]],
    ]
    assert all(follows(u, "uniform") for u in families)
    table = np.abs(np.corrcoef(families)) - np.eye(len(families))
    assert table.max() < 4.5 / math.sqrt(20_000)
    assert follows(np.abs(np.diff(families[0])), stats.triang(0).cdf)  # neighbours too


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**50), min_size=1, max_size=20))
@settings(max_examples=30)
def test_a_number_depends_on_seed_and_index_alone(seed: int, index: list[int]):
    together = Draws.of(seed, np.array(index)).bits(3)
    assert together.tolist() == [int(Draws.of(seed, np.array([i])).bits(3)[0]) for i in index]
    u = Draws.of(seed, np.array(index)).uniform(0)
    assert ((u > 0) & (u < 1)).all()


def test_the_default_attributes_follow_the_published_distributions():
    a = drawn(Spec())
    assert even(a.char[:, 0], 53)
    for name in ("is_bold", "is_slant"):
        assert even(getattr(a, name)[:, 0].astype(int), 2)
    assert even(a.inverse_color.astype(int), 2)
    assert follows(a.rotation[:, 0], stats.norm(0, 0.3).cdf)
    assert follows(np.log(a.scale[:, 0] / 0.6), stats.norm(0, 0.2).cdf)
    for name in ("x_translation", "y_translation"):
        assert follows(getattr(a, name)[:, 0], stats.uniform(-0.9, 1.8).cdf)
    assert a.max_contrast.all()
    assert set(a.pixel_noise_scale) == {0.01}
    assert set(a.background) == set(a.foreground.ravel()) == {PATTERN_NAMES.index("gradient")}
    assert a.shown.shape == (N, 1)
    assert a.shown.all()
    columns = np.stack([a.rotation[:, 0], a.scale[:, 0], a.x_translation[:, 0], a.is_bold[:, 0]])
    assert (np.abs(np.corrcoef(columns)) - np.eye(4)).max() < 4.5 / math.sqrt(N)


def test_fonts_are_drawn_evenly_among_those_that_have_the_character():
    spec = Spec(alphabets=("digits",))
    a = drawn(spec)
    assert (a.glyph >= 0).all()
    assert even(a.char[:, 0], 10)
    for char in range(10):
        fonts_of = a.font[a.char[:, 0] == char, 0]
        assert set(fonts_of) == set(range(min(char, 4) + 1))
        assert even(fonts_of, min(char, 4) + 1)
    font_first = drawn(Spec(alphabets=("digits",), font_first=1.0))
    assert (font_first.glyph >= 0).all()
    assert even(font_first.font[:, 0], 5)


def test_the_presets_differ_as_documented():
    a = drawn(preset("some-large-occlusion"))
    assert abs((a.n_occlusions == 1).mean() - 0.2) < 0.006
    assert follows(np.log(a.scale[:, 1] / 0.6), stats.norm(0, 0.1).cdf)
    assert follows(a.x_translation[:, 1], stats.uniform(-3, 6).cdf)
    assert follows(a.rotation[:, 1], stats.uniform(0, 2 * np.pi).cdf)
    assert even(a.glyph[:, 1] - 7, 3)
    a = drawn(preset("many-small-occlusion"))
    assert even(a.n_occlusions, 5)
    assert (a.shown[:, 1:].sum(1) == a.n_occlusions).all()
    assert follows(a.y_translation[:, 2], stats.uniform(-1.5, 3).cdf)
    a = drawn(preset("missing-symbol"))
    assert abs((~a.shown[:, 0]).mean() - 0.1) < 0.005
    a = drawn(preset("pixel-noise"))
    assert abs((a.pixel_noise_scale == 0.3).mean() - 0.1) < 0.005
    assert set(a.pixel_noise_scale) == {0.0, 0.3}
    a = drawn(preset("camouflage"))
    assert a.is_bold.all()
    assert not a.is_slant.any()
    assert follows(np.log(a.scale[:, 0] / 0.7), stats.norm(0, 0.1).cdf)
    a = drawn(preset("large-translation"))
    assert set(a.scale[:, 0]) == {0.5}
    assert follows(a.x_translation[:, 0], stats.uniform(-2, 4).cdf)
    a = drawn(preset("counting"), n=20_000)
    assert even(a.n_symbols - 3, 7)
    share = (a.char[:, 0] == 0).mean()
    assert abs(share - (0.7 + 0.3 / 53)) < 0.015
    assert drawn(preset("counting-crowded"), n=500).n_symbols.max() == 49


def test_the_predefined_generators_are_all_there():
    assert len(PRESETS) == 21
    assert [name for name, spec in PRESETS.items() if spec.resolution == 128] == [
        "segmentation",
        "counting",
        "counting-fix-scale",
        "counting-crowded",
    ]


def test_attributes_of_an_image_do_not_depend_on_the_others():
    spec = preset("many-small-occlusion")
    atlas = atlas_of(spec)
    mixed = np.array([5, 1_000_000, 3, 1 << 40])
    together = sample(spec, atlas, 7, mixed)
    for row, number in enumerate(mixed):
        alone = sample(spec, atlas, 7, np.array([number]))
        for name, column in vars(together.rows(slice(row, row + 1))).items():
            assert np.array_equal(column, getattr(alone, name)), name


def test_a_drift_moves_the_distribution_over_stream_time():
    spec = Spec(
        scale=Drift(Uniform(0.8, 1.0), Uniform(0.2, 0.4)),
        background=Shift(constant("solid"), Choice(("camouflage", "natural"))),
    )
    time = np.repeat([0.0, 0.25, 1.0], N // 4)
    a = sample(spec, atlas_of(spec), 0, np.arange(len(time)), time)
    for at, low in ((0.0, 0.8), (0.25, 0.65), (1.0, 0.2)):
        assert follows(a.scale[time == at, 0], stats.uniform(low, 0.2).cdf)
    for at in (0.0, 0.25, 1.0):
        names = Counter(PATTERN_NAMES[code] for code in a.background[time == at])
        share = {name: count / (N // 4) for name, count in names.items()}
        assert share.get("solid", 0) == pytest.approx(1 - at, abs=0.015)
        assert share.get("natural", 0) == pytest.approx(at / 2, abs=0.015)
    assert set(spec.patterns) == {"solid", "camouflage", "natural", "gradient"}


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("0.5", constant(0.5)),
        ("true", constant(True)),
        ("3", constant(3)),
        ("solid|gradient", Choice(("solid", "gradient"))),
        ("normal:0:0.3", Normal(0, 0.3)),
        ("uniform:-1:1", Uniform(-1, 1)),
        ("lognormal:.6:.2", LogNormal(0.6, 0.2)),
    ],
)
def test_values_as_words(text: str, is_: object):
    assert parse(text) == is_


@pytest.mark.parametrize(
    "word",
    [
        "scale",
        "scale=",
        "scale=normal:1",
        "scale=normal:0:-1",
        "scale=uniform:1:0",
        "scale=nan",
        "scale=inf",
        "scale=0",
        "scale=big",
        "scale=1|solid",
        "rotation=uniform:0:1e9",
        "is_bold=0.5",
        "is_bold=2",
        "n_symbols=1.5",
        "n_symbols=-1",
        "pixel_noise_scale=2",
        "background=gradeint",
        "background=1",
        "sclae=1",
        "scale=beta:1:2",
    ],
)
def test_attributes_that_cannot_be_are_refused_in_one_line(word: str):
    with pytest.raises(UsageError) as caught:
        changed(Spec(), [word])
    assert "\n" not in str(caught.value)
    assert word.partition("=")[0] in str(caught.value)


def test_did_you_mean():
    for call, hint in (
        (lambda: preset("camuflage"), "camouflage"),
        (lambda: changed(Spec(), ["rotatoin=1"]), "rotation"),
        (lambda: changed(Spec(), ["background=gradeint"]), "gradient"),
        (lambda: Spec(alphabets=("englsh",)), "english"),
    ):
        with pytest.raises(UsageError, match=f"did you mean '{hint}'"):
            call()
    for resolution in (7, 129):
        with pytest.raises(UsageError, match="8 to 128"):
            Spec(resolution=resolution)


def test_alphabets_hold_each_character_once():
    for name, characters in fonts.ALPHABETS.items():
        assert len(set(characters)) == len(characters), name
    assert len(fonts.ALPHABETS["english"]) == 53
    assert len(PRESETS["korean-1k"].characters) == 1000
    both = Spec(alphabets=("latin", "english")).characters
    assert len(both) == 53
