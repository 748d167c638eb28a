"""SCoLE: what is drawn, how often, and the variants of the paper."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small import pool
from test_scenarios import IMAGES, TEN, classes, frequencies, make

from clbench.data.corruptions import DETERMINISTIC, KINDS
from clbench.errors import UsageError


@pytest.mark.parametrize("k", [1, 2, 5])
def test_scole_draws_every_class_equally_often(k: int):
    """Inclusions of classes are correlated: chi-square over N - 1 of variance f(1-f)."""
    n, t = 10, 4000
    found = frequencies(make("scole", n_tasks=t, classes_per_task=k), t)
    f = k / n
    chi2 = ((found - t * f) ** 2).sum() / (t * f * (1 - f)) * (n - 1) / n
    assert stats.chi2.sf(chi2, n - 1) > 1e-3
    assert found.sum() == t * k


def test_scole_draws_every_pair_equally_often_and_without_replacement():
    t = 4500
    drawn = Counter(classes(make("scole", n_tasks=t), t))
    assert set(drawn) == set(itertools.combinations(range(10), 2))
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-3


def test_scole_tasks_are_independent():
    drawn = classes(make("scole", n_tasks=4000, classes_per_task=1), 4000)
    pairs = Counter(zip(drawn, drawn[1:], strict=False))  # noqa: RUF007
    assert len(pairs) == 100
    assert stats.chisquare(list(pairs.values())).pvalue > 1e-3


@pytest.mark.parametrize(
    ("imbalance", "more"),
    [("reference", {"entropy_decrease": 2.0}), ("geometric", {"imbalance_ratio": 30.0})],
)
def test_scole_imbalance_has_the_marginals_of_numpys_sequential_draw(
    imbalance: str, more: dict[str, object]
):
    """They are not k p: the draw is without replacement."""
    t = 4000
    stream = make("scole", n_tasks=t, classes_per_task=5, imbalance=imbalance, **more)
    rng = np.random.default_rng(1)
    p = stream.plan.p  # type: ignore[attr-defined]
    theirs = np.zeros(10)
    for _ in range(20_000):
        theirs[rng.choice(10, 5, replace=False, p=p)] += 1 / 20_000
    found = frequencies(stream, t)
    error = np.sqrt(theirs * (1 - theirs) * (1 / t + 1 / 20_000))
    assert (np.abs(found / t - theirs) < 4 * error).all()
    assert np.abs(5 * p - theirs).max() > 4 * error.max()


@pytest.mark.parametrize(("n", "f"), [(10, 0.05), (20, 0.05), (100, 0.01)])
@pytest.mark.parametrize("e", [0.0, 1.0, 2.0, 4.0])
def test_scole_reference_probabilities(n: int, f: float, e: float):
    on = pool(n_classes=n, n_train=1, n_test=1)
    stream = make("scole", on, imbalance="reference", entropy_decrease=e)
    raw = [(1 - f * i) ** e for i in range(n)]
    wanted = sorted(r / sum(raw) for r in raw)
    assert np.sort(stream.plan.p) == pytest.approx(wanted)  # type: ignore[attr-defined]


def test_scole_reference_ratios_as_published():
    """Systems sheet: e=1, N=10: .129/.071, a ratio of 1.8; e=4: 10.9; N=100, e=1: 100."""

    def ends(n: int, e: float) -> tuple[float, float]:
        on = pool(n_classes=n, n_train=1, n_test=1)
        p = make("scole", on, imbalance="reference", entropy_decrease=e).plan.p  # type: ignore[attr-defined]
        return float(p.max()), float(p.min())

    assert ends(10, 1) == pytest.approx((0.129, 0.071), abs=5e-4)
    high, low = ends(10, 4)
    assert high / low == pytest.approx(10.9, abs=0.05)
    high, low = ends(100, 1)
    assert high / low == pytest.approx(100)


@pytest.mark.parametrize("n", [21, 50, 200])
def test_scole_reference_is_refused_where_it_turns_negative(n: int):
    on = pool(n_classes=n, n_train=1, n_test=1)
    with pytest.raises(UsageError, match="geometric"):
        make("scole", on, imbalance="reference")


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 200), st.floats(1, 1e6))
def test_scole_geometric_is_safe_for_any_number_of_classes(n: int, ratio: float):
    on = pool(n_classes=n, n_train=1, n_test=1)
    plan = make("scole", on, imbalance="geometric", imbalance_ratio=ratio).plan
    p = np.sort(plan.p)[::-1]  # type: ignore[attr-defined]
    assert p.sum() == pytest.approx(1)
    assert p[0] / p[-1] == pytest.approx(ratio)
    assert p[:-1] / p[1:] == pytest.approx(ratio ** (1 / (n - 1)))


def test_scole_probabilities_are_shuffled_by_the_seed():
    orders = {
        tuple(np.argsort(make("scole", seed=s, imbalance="geometric").plan.p))  # type: ignore[attr-defined]
        for s in range(5)
    }
    assert len(orders) == 5


def test_scole_prob_reduction_divides_and_normalises():
    """The probabilities after a number of draws are p / r^(times drawn), normalised."""
    stream = make("scole", n_tasks=30, prob_reduction=3.0)
    drawn = classes(stream, 30)
    times = np.bincount([c for task in drawn for c in task], minlength=10)
    wanted = 3.0 ** -times.astype(float)
    assert stream.plan.reduced == pytest.approx(wanted / wanted.sum())  # type: ignore[attr-defined]


def test_scole_prob_reduction_evens_out():
    """Every visit makes a class rarer, so counts stay closer together than independent ones."""
    spread = np.ptp(frequencies(make("scole", n_tasks=300, prob_reduction=2.0), 300))
    assert spread <= 4
    assert np.ptp(frequencies(make("scole", n_tasks=300), 300)) > 10


def test_scole_prob_reduction_does_not_depend_on_the_order_of_asking():
    stream = make("scole", n_tasks=40, prob_reduction=2.0)
    late_first = stream.plan(39).classes
    assert classes(stream, 40) == classes(make("scole", n_tasks=40, prob_reduction=2.0), 40)
    assert stream.plan(39).classes == late_first


def test_scole_prob_reduction_survives_thousands_of_tasks():
    """P shrinks by 10^-100 and more; normalised each time it stays a probability."""
    stream = make("scole", n_tasks=3000, prob_reduction=10.0)
    assert all(len(set(task)) == 2 for task in classes(stream, 3000))


def test_scole_forgetting_draws_only_from_the_first_half_after_half_of_the_tasks():
    t = 200
    drawn = classes(make("scole", n_tasks=t, forgetting=True), t)
    assert {c for task in drawn[t // 2 - 30 : t // 2 + 1] for c in task} == set(range(10))
    assert {c for task in drawn[t // 2 + 1 :] for c in task} == set(range(5))


@pytest.mark.parametrize("n_periods", [2, 3, 5])
def test_scole_periods_draw_from_their_own_classes(n_periods: int):
    """All classes come, also where their number cannot be divided evenly."""
    t = 100
    drawn = classes(make("scole", n_tasks=t, n_periods=n_periods), t)
    seen = []
    for period in range(n_periods):
        part = [task for n, task in enumerate(drawn) if n * n_periods // t == period]
        own = {c for task in part for c in task}
        low, high = (at * 10 // n_periods for at in (period, period + 1))
        assert own == set(range(low, high))
        seen += sorted(own)
    assert seen == [*range(10)]


def test_scole_order_0_cycles_through_all_sets_lexicographically():
    every = list(itertools.combinations(range(10), 3))
    drawn = classes(make("scole", classes_per_task=3, randomized_order=0.0), 250)
    assert drawn == [every[t % math.comb(10, 3)] for t in range(250)]


def test_scole_order_1_is_random_without_duplicates():
    drawn = classes(make("scole", classes_per_task=2, randomized_order=1.0), 4500)
    assert all(len(set(task)) == 2 for task in drawn)
    assert set(drawn) == set(itertools.combinations(range(10), 2))
    every = list(itertools.combinations(range(10), 2))
    kept = sum(drawn[t] == every[t % 45] for t in range(4500))
    assert kept < 4500 * 0.06  # one in 45 by chance


def test_scole_order_between_keeps_most():
    every = list(itertools.combinations(range(10), 2))
    drawn = classes(make("scole", randomized_order=0.1), 2000)
    kept = np.mean([drawn[t] == every[t % 45] for t in range(2000)])
    assert 0.9**2 - 0.04 < kept < 0.9**2 + 0.1  # a replaced class may come back


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_scole_couples_are_restricted_to_the_share(share: float):
    drawn = classes(make("scole", randomized_couples=share), 2000)
    assert len(set(drawn)) == max(1, round(share * 45))
    if share:
        assert stats.chisquare(list(Counter(drawn).values())).pvalue > 1e-3
        other = classes(make("scole", seed=1, randomized_couples=share), 2000)
        assert (set(other) == set(drawn)) == (share == 1)


def test_scole_iid_is_the_control():
    stream = make("scole", draw="iid", n_tasks=7)
    assert classes(stream, 7) == [tuple(range(10))] * 7
    assert stream.n_tasks == 7


def test_scole_of_one_task_is_the_iid_reference():
    stream = make("scole", n_tasks=1)
    assert classes(stream, 1) == [tuple(range(10))]
    assert len(stream.experience(0)) == 30


def test_scole_corruptions_are_uniform_and_test_stays_clean():
    t = 3400
    stream = make("scole", IMAGES, n_tasks=t, corruption="random", severity=2)
    plans = [stream.plan(i) for i in range(t)]
    kinds = Counter(plan.transform for plan in plans)
    assert set(kinds) == set(range(len(KINDS))) == set(range(17))
    assert stats.chisquare(list(kinds.values())).pvalue > 1e-3
    clean = make("scole", IMAGES, n_tasks=t)
    assert stream.world().x.tolist() == clean.world().x.tolist()
    assert classes(stream, 50) == classes(clean, 50)


def test_scole_corrupted_samples_are_the_same_again_only_where_there_is_no_noise():
    stream = make("scole", IMAGES, n_tasks=100, classes_per_task=4, corruption="random")
    clean = set(make("scole", IMAGES, n_tasks=1).draw(0).keys)
    noisy: set[int] = set()
    calm: dict[int, int] = {}
    for t in range(100):
        kind, keys = stream.plan(t).transform, set(stream.draw(t).keys)
        assert (keys == clean) if kind == 0 else not keys & clean
        assert not keys & noisy
        if tuple(KINDS)[kind] in DETERMINISTIC:
            # The same samples again have the same keys, and only they.
            assert all(calm.setdefault(key, kind) == kind for key in keys)
        else:
            assert not keys & calm.keys()
            noisy |= keys
    assert len(calm) == len(DETERMINISTIC) * len(clean)


def test_scole_corruptions_called_deterministic_are():
    stream = make("scole", IMAGES, n_tasks=200, classes_per_task=4, corruption="random", severity=3)
    seen: dict[int, list[list[int]]] = {}
    for t in range(200):
        kind = stream.plan(t).transform
        assert kind is not None
        task = stream.experience(t)
        seen.setdefault(kind, []).append(task.x[task.key.argsort()].flatten().tolist())
    for kind, name in enumerate(KINDS):
        if name in DETERMINISTIC:
            assert all(x == seen[kind][0] for x in seen[kind]), name


def test_scole_subset_of_classes_is_renumbered_in_sorted_order():
    stream = make("scole", n_classes=4, n_tasks=50)
    assert stream.n_classes == 4
    assert list(stream.labels) == sorted(set(stream.labels))
    assert {c for task in classes(stream, 50) for c in task} == {0, 1, 2, 3}
    draw = stream.draw(3)
    theirs = TEN.labels("train")[draw.index]
    assert [stream.labels[label] for label in draw.labels] == theirs.tolist()
    assert len(stream.world().y) == 8
    assert len({make("scole", n_classes=4, seed=s).labels for s in range(8)}) > 1


def test_scole_endless_is_the_same_stream_without_an_end():
    endless = make("scole", n_tasks=None)
    assert endless.n_tasks is None
    assert classes(endless, 50) == classes(make("scole", n_tasks=1000), 50)
    assert len(endless.plan(10**9).classes) == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"classes_per_task": 11},
        {"n_classes": 11},
        {"n_classes": 3, "classes_per_task": 4},
        {"classes_per_task": 6, "forgetting": True},
        {"classes_per_task": 6, "n_periods": 2},
        {"n_periods": 6},
        {"n_tasks": 0},
        {"classes_per_task": 0},
        {"share": 0.0},
        {"share": 1.5},
        {"share": float("nan")},
        {"imbalance_ratio": 0.5},
        {"imbalance_ratio": float("inf")},
        {"entropy_decrease": -1.0},
        {"entropy_decrease": float("nan")},
        {"prob_reduction": 0.5},
        {"prob_reduction": float("nan")},
        {"randomized_order": 1.1},
        {"randomized_couples": -0.1},
        {"randomized_order": float("nan")},
        {"severity": 0},
        {"severity": 6},
        {"chunk": 0},
        {"n_tasks": None, "forgetting": True},
        {"forgetting": True, "n_periods": 2},
        {"corruption": "random"},
        {"severity": 3},
        {"entropy_decrease": 3.0},
        {"imbalance": "reference", "imbalance_ratio": 3.0},
        {"imbalance": "geometric", "entropy_decrease": 3.0},
        {"draw": "iid", "imbalance": "geometric"},
        {"draw": "iid", "prob_reduction": 2.0},
        {"draw": "iid", "forgetting": True},
        {"draw": "iid", "randomized_couples": 0.5},
        {"randomized_order": 0.5, "imbalance": "geometric"},
    ],
    ids=str,
)
def test_scole_refuses(bad: dict[str, object]):
    with pytest.raises(UsageError) as caught:
        make("scole", **bad)
    assert "\n" not in str(caught.value)
