"""Arms: what differs in its seed only is one; names tell what differs, and no two are the same."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from small import short_record

from clbench.results.arms import by_arm, labels
from clbench.results.record import Record


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Seeds 1 and 0 of naive, seed 0 of joint, seed 0 of naive with another rate."""
    return [
        short_record(seed=1),
        short_record("joint"),
        short_record(),
        short_record("naive", 0, "strategy.lr=0.3"),
    ]


def names(records: list[Record]) -> list[str]:
    return [arm.name for arm in by_arm(records)]


def test_an_arm_is_all_that_differs_in_its_seed_only(records: list[Record]):
    arms = by_arm(records)
    assert [[r.seed for r in arm.records] for arm in arms] == [[0, 1], [0], [0]]
    assert [arm.records[0].config["strategy"]["name"] for arm in arms] == [
        "naive",
        "joint",
        "naive",
    ]


def test_names_tell_the_settings_that_differ_among_arms_of_a_strategy(records: list[Record]):
    assert records[0].config["strategy"]["lr"] is None
    assert names(records) == ["naive lr=null", "joint", "naive lr=0.3"]
    assert names(records[:3]) == ["naive", "joint"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("eval_every=2", ("eval_every=1", "eval_every=2")),
        ("evaluate_on=val", ("evaluate_on=test", "evaluate_on=val")),
        ("strategy.mask=group", ("mask=none", "mask=group")),
        ("strategy.reset_optimizer=true", ("reset_optimizer=false", "reset_optimizer=true")),
        ("model=linear", ("model=mlp", "model=linear")),
        ("model.hidden=[5,6]", ("model.hidden=[64,64]", "model.hidden=[5,6]")),
        ("diagnostics=weight_norm", ("", "diagnostics=['weight_norm']")),
        ("scenario.share=0.5", ("scenario.share=1.0", "scenario.share=0.5")),
    ],
)
def test_settings_of_every_kind_are_told(word: str, told: tuple[str, str]):
    default = short_record("naive", 0, "model=mlp")
    other = short_record("naive", 0, *with_model(word))
    assert names([default, other]) == [f"naive {text}".rstrip() for text in told]
    assert names([default]) == names([other]) == ["naive"]


def with_model(word: str) -> tuple[str, ...]:
    return (word,) if word.startswith("model=") else ("model=mlp", word)


def changed(record: Record, group: str, **settings: Any) -> Record:
    """As if these settings had been others; no two such records are of one arm."""
    config = {**record.config}
    config = config | ({group: {**config[group], **settings}} if group else settings)
    return dataclasses.replace(
        record, config=config, config_sha256=repr(config), run_sha256=repr(config)
    )


def test_settings_of_model_data_and_run_are_told_across_strategies(records: list[Record]):
    naive, joint = records[2], records[1]
    assert names([changed(naive, "model", name="a"), changed(joint, "model", name="b")]) == [
        "naive model=a",
        "joint model=b",
    ]
    assert names([naive, changed(joint, "data", augment="flip")])[1] == "joint data.augment=flip"
    assert names([naive, changed(joint, "", threads=2)]) == ["naive threads=1", "joint threads=2"]
    assert names([naive, changed(joint, "strategy", lr=0.5)]) == ["naive", "joint"]
    assert names([naive, changed(joint, "", seed=9, device="cuda")]) == ["naive", "joint"]


def test_plug_ins_are_compared_with_themselves(records: list[Record]):
    """Of three arms with two encoders the two of one encoder are told apart by its settings."""
    plain, small, large = (
        changed(records[2], "", encoder={"name": "x", "size": size}) if size else records[2]
        for size in (0, 1, 2)
    )
    assert names([plain, small, large]) == [
        "naive",
        "naive encoder=x encoder.size=1",
        "naive encoder=x encoder.size=2",
    ]
    assert names([plain, small]) == ["naive", "naive encoder=x"]


def test_a_setting_that_older_records_lack_tells_arms_apart(records: list[Record]):
    older = changed(records[2], "strategy")
    del older.config["strategy"]["lr"]
    assert names([records[2], older]) == ["naive lr=null", "naive"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source_sha256": "0" * 64}, "source=00000000"),
        ({"pool_sha256": "0" * 64}, "pool=00000000"),
        ({"board": {"name": "b", "protocol": "1.0", "division": "open"}}, "board=b/1.0/open"),
        ({"tuning": {"ruleset": "tuned", "trials": 3, "grid_sha256": None}}, "tuned/3/null"),
        ({"config_sha256": "0" * 64}, "config=00000000"),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, dict) else "",
)
def test_other_code_data_or_board_is_another_arm(
    records: list[Record], change: dict[str, Any], told: str
):
    other = dataclasses.replace(records[0], run_sha256=None, **change)
    assert len(by_arm([records[2], records[0]])) == 1
    first, second = names([records[2], other])
    assert first != second
    assert second.startswith("naive ")
    assert second.endswith(told)


def test_no_two_arms_have_one_name(records: list[Record]):
    """Whatever differs: among all choices of changes, all at once and two at a time."""
    one = records[2]
    arms = [
        one,
        changed(one, "", eval_every="log"),
        changed(one, "model", hidden=[1]),
        changed(one, "model", name="a"),
        changed(one, "strategy", lr=0.1, mask="group"),
        dataclasses.replace(one, run_sha256=None, source_sha256="1" * 64),
        dataclasses.replace(one, run_sha256=None, pool_sha256="1" * 64),
        dataclasses.replace(
            one, run_sha256=None, environment={**one.environment, "device": "cuda"}
        ),
        changed(one, "scenario", name="endless"),
    ]
    for shown in (arms, *map(list, itertools.combinations(arms, 2))):
        found = labels(by_arm(shown))
        assert len(set(found)) == len(shown)


def test_the_scenario_is_in_the_label_where_there_are_several(records: list[Record]):
    arms = by_arm([records[2], changed(records[2], "scenario", name="other")])
    assert [arm.name for arm in arms] == ["naive", "naive"]
    assert labels(arms) == ["scole naive", "other naive"]
    assert labels(arms[:1]) == ["naive"]
