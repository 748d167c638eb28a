"""``strategy.first.epochs``: settings inside a setting, from words, files and records."""

from __future__ import annotations

from pathlib import Path

import pytest

from clbench.configure.config import resolve
from clbench.errors import UsageError
from clbench.nets.training import First
from clbench.util import yaml_files

WORDS = ("scenario=scole", "scenario.n_tasks=2", "data=digits", "strategy=naive")


def test_words_are_typed_and_bounded():
    [config] = resolve(
        [
            *WORDS,
            "strategy.first.epochs=7",
            "strategy.first.milestones=[1,2]",
            "strategy.first.schedule=multistep",
        ]
    )
    assert config.strategy.first == First(epochs=7, milestones=(1, 2), schedule="multistep")
    assert config.as_dict()["strategy"]["first"] == {
        "epochs": 7,
        "milestones": [1, 2],
        "schedule": "multistep",
    }


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("strategy.first.epoch=3", "strategy.first.epoch is no setting; did you mean 'epochs'"),
        ("strategy.first.epochs=0", "strategy.first.epochs=0 must be at least 1"),
        ("strategy.first.epochs=many", "strategy.first.epochs=many"),
        ("strategy.first=3", "strategy.first=3 has settings of its own"),
        ("strategy.lr.x=3", "has no setting 'lr.x'"),
        ("strategy.first.lr=-1", "strategy.first.lr=-1.0 must be"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(word: str, says: str):
    with pytest.raises(UsageError) as error:
        resolve([*WORDS, word])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_over_it_and_one_arm():
    configs = resolve([*WORDS[:3], "strategy=naive,ewc", "ewc.first.epochs=2,3"])
    found = [(c.plugins["strategy"].name, c.strategy.first.epochs) for c in configs]
    assert found == [("naive", None), ("ewc", 2), ("ewc", 3)]


def test_a_file_gives_it_back_and_words_override_it(tmp_path: Path):
    [config] = resolve([*WORDS, "strategy.first.epochs=7", "strategy.first.lr=0.5"])
    path = tmp_path / "config.yaml"
    path.write_text(yaml_files.dump(config.as_file()))
    [again] = resolve([], path)
    assert again.strategy == config.strategy
    [other] = resolve(["strategy.first.epochs=9"], path)
    assert other.strategy.first == First(epochs=9, lr=0.5)


def test_the_default_renames_no_run():
    [plain], [given] = resolve([*WORDS]), resolve([*WORDS, "strategy.first.epochs=7"])
    assert "first" not in plain.identity()["strategy"]
    assert given.identity()["strategy"]["first"] == {"epochs": 7}
