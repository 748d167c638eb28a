"""Wrong and withheld labels: drawn by key, at their rates, on any scenario, in training only."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from small import go, pool, record_of, run
from stream_recipes import salt_of, splitmix

from clbench.engine.build import Run
from clbench.errors import UsageError
from clbench.stream import Stream

BIG = pool(n_classes=4, n_train=500, n_test=2)
"""500 of each class, so that shares are near their rates."""


def stream(*words: str, on: object = None, seed: int = 3) -> Stream:
    return made(*words, on=on, seed=seed).stream


def made(*words: str, on: object = None, seed: int = 3) -> Run:
    extra = [] if any(w.startswith("scenario=") for w in words) else ["scenario=scole"]
    return run(*extra, "strategy=naive", f"seed={seed}", *words, on=on)  # type: ignore[arg-type]


def by_recipe(
    y: int, key: int, seed: int, kind: str, rate: float, unlabelled: float, classes: list[int]
) -> int:
    """The label of a sample from its true one and its key, in whole numbers."""

    def unit(purpose: int) -> float:
        return (splitmix(key % (1 << 64), salt_of(seed, purpose)) >> 11) / 2**53

    if kind != "none" and unit(1) < rate:
        others = [*classes[classes.index(y) + 1 :], *classes[: classes.index(y)]]
        other = splitmix(key % (1 << 64), salt_of(seed, 2)) % len(others)
        y = others[other if kind == "symmetric" else 0]
    return -1 if unit(3) < unlabelled else y


@pytest.mark.parametrize("scenario", ["scole", "class_incremental", "task_incremental"])
@pytest.mark.parametrize("kind", ["none", "symmetric", "asymmetric"])
@pytest.mark.parametrize("unlabelled", [0.0, 0.4])
def test_labels_are_those_of_the_recipe(scenario: str, kind: str, unlabelled: float):
    words = [f"scenario={scenario}", "scenario.n_tasks=2", f"scenario.label_noise={kind}"]
    words += ["scenario.label_noise_rate=0.3"] if kind != "none" else []
    noisy, clean = stream(*words, f"scenario.unlabelled={unlabelled}"), stream(*words[:2])
    sha256 = noisy.sha256
    for t in range(2):
        draw, true = noisy.draw(t), clean.draw(t)
        assert draw.index.tolist() == true.index.tolist()
        assert draw.keys.tolist() == true.keys.tolist()
        mine = list(noisy.plan(t).classes) if scenario != "scole" else [0, 1, 2, 3]
        wanted = [
            by_recipe(int(y), int(key), 3, kind, 0.3, unlabelled, mine)
            for y, key in zip(true.labels, draw.keys, strict=True)
        ]
        assert noisy.experience(t).y.tolist() == draw.labels.tolist() == wanted
        digest = hashlib.sha256(sha256.encode())
        digest.update(draw.keys.tobytes())
        digest.update(np.array(wanted).tobytes())
        sha256 = noisy.extend(sha256, draw)
        assert sha256 == digest.hexdigest()
    assert noisy.world().y.equal(clean.world().y)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_rates_are_met_in_each_class(kind: str, rate: float):
    words = ["scenario=domain_incremental", "scenario.n_tasks=1", f"scenario.label_noise={kind}"]
    noisy = stream(*words, f"scenario.label_noise_rate={rate}", on=BIG)
    draw = noisy.draw(0)
    true = BIG.labels("train")[draw.index]
    confusion = np.zeros((4, 4))
    np.add.at(confusion, (true, draw.labels), 1 / 500)
    sd = 4 * np.sqrt(rate * (1 - rate) / 500)
    assert np.abs(np.diag(confusion) - (1 - rate)).max() <= sd
    if kind == "symmetric":
        off = confusion[~np.eye(4, dtype=bool)]
        assert np.abs(off - rate / 3).max() < 4 * np.sqrt(rate / 3 / 500)
    else:
        nxt = confusion[np.arange(4), (np.arange(4) + 1) % 4]
        assert np.allclose(nxt + np.diag(confusion), 1)


def test_what_is_withheld_does_not_depend_on_what_is_wrong():
    base = ("scenario=domain_incremental", "scenario.n_tasks=1", "scenario.unlabelled=0.4")
    plain = stream(*base, on=BIG).draw(0)
    noisy = stream(*base, "scenario.label_noise=symmetric", on=BIG).draw(0)
    hidden = plain.labels == -1
    assert ((noisy.labels == -1) == hidden).all()
    assert abs(hidden.mean() - 0.4) < 0.05
    true = BIG.labels("train")[plain.index]
    wrong = (noisy.labels != true) & ~hidden
    assert abs(wrong.sum() / (~hidden).sum() - 0.2) < 0.05


def test_a_sample_that_comes_again_keeps_its_label():
    words = ("scenario.n_tasks=20", "scenario.label_noise=symmetric", "scenario.unlabelled=0.3")
    noisy = stream(*words, "scenario.label_noise_rate=0.5")
    known: dict[int, int] = {}
    met = 0
    for t in range(20):
        draw = noisy.draw(t)
        for key, label in zip(draw.keys.tolist(), draw.labels.tolist(), strict=True):
            met += key in known
            assert known.setdefault(key, label) == label
    assert met > 100
    other = stream(*words, "scenario.label_noise_rate=0.5", seed=4)
    assert other.draw(0).labels.tolist() != noisy.draw(0).labels.tolist()


def test_labels_of_disjoint_tasks_stay_in_their_task():
    for scenario in ("class_incremental", "task_incremental"):
        words = (f"scenario={scenario}", "scenario.label_noise=symmetric")
        noisy = stream(*words, "scenario.label_noise_rate=1")
        for t in range(2):
            draw = noisy.draw(t)
            assert set(draw.labels.tolist()) == set(draw.plan.classes)
    split = ("scenario=domain_incremental", "scenario.transform=split")
    noisy = stream(*split, "scenario.label_noise=asymmetric", "scenario.label_noise_rate=1")
    clean = stream(*split)
    assert noisy.draw(0).labels.tolist() == (1 - clean.draw(0).labels).tolist()


def test_chunks_of_a_task_have_the_labels_of_the_whole():
    words = ("scenario=class_incremental", "scenario.label_noise=symmetric")
    whole, cut = stream(*words), stream(*words, "scenario.chunk=7")
    labels = np.concatenate([cut.draw(n).labels for n in range(cut.n_experiences(1))])
    assert labels.tolist() == whole.draw(0).labels.tolist()


MINE = '''"""One task of all classes."""
from dataclasses import dataclass
from clbench import Pool, Scenario, Stream, Task


@dataclass(frozen=True)
class Mine(Scenario):
    """Delivers everything at once."""

    twice: bool
    """A setting without a default."""

    def stream(self, pool, seed):
        labels = tuple(range(pool.n_classes))
        return Stream(pool=pool, seed=seed, plan=lambda t: Task(labels), n_tasks=1, labels=labels)
'''


def test_a_users_scenario_has_the_options(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    words = (f"scenario={path}", "scenario.twice=true", "scenario.unlabelled=0.5")
    noisy = stream(*words, "scenario.label_noise=asymmetric", on=BIG)
    labels = noisy.draw(0).labels
    assert 0.4 < (labels == -1).mean() < 0.6
    assert noisy.labelling is not None
    with pytest.raises(UsageError, match="did you mean 'label_noise'"):
        stream(*words, "scenario.label_nois=symmetric")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["scenario.label_noise_rate=0.3"], "needs scenario.label_noise=symmetric or asymmetric"),
        (["scenario.label_noise=symmetric", "scenario.label_noise_rate=0"], "label_noise_rate=0"),
        (["scenario.label_noise=symmetric", "scenario.label_noise_rate=1.2"], r"\(0, 1\]"),
        (["scenario.unlabelled=1"], r"\[0, 1\)"),
        (["scenario.unlabelled=-0.1"], r"\[0, 1\)"),
        (
            [
                "scenario=class_incremental",
                "scenario.sizes=[3,1]",
                "scenario.label_noise=symmetric",
            ],
            "task 1 has one class",
        ),
    ],
)
def test_senseless_options_are_refused(words: list[str], told: str):
    with pytest.raises(UsageError, match=told):
        stream(*words)


def test_options_at_their_defaults_rename_no_run_and_change_no_label():
    plain, explicit = made(), made("scenario.label_noise=none", "scenario.unlabelled=0")
    assert plain.run_sha256 == explicit.run_sha256
    assert plain.stream.labelling is None
    others = {
        made(w).run_sha256 for w in ("scenario.label_noise=symmetric", "scenario.unlabelled=0.1")
    }
    assert len(others | {plain.run_sha256}) == 3


def test_a_run_on_few_labels_has_a_clean_record():
    one = made("scenario=class_incremental", "scenario.unlabelled=0.9", "strategy.batch_size=2")
    strategy, outcome = go(one)
    assert outcome.status == "completed"
    record = record_of(one, strategy, outcome)
    loss = record.diagnostics["loss"]
    assert all(value is not None and np.isfinite(value) for value in loss)
    assert dataclasses.asdict(record)["config"]["scenario"]["unlabelled"] == 0.9
