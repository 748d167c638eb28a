"""The runs of the latent study: every arm once, and the siblings that its metrics need."""

from __future__ import annotations

import pytest

from benchmarks.study.plan import MLP, REINIT, REPLAY, plan
from clbench.errors import UsageError


def test_the_whole_study_has_every_head_on_every_latents_with_every_seed():
    planned = plan([])
    # 2 data sets, 3 encoders, 5 seeds; 4 heads without gradient, and an MLP at 4 sizes; beside it
    # a re-initialised one at each size, of which that of size 0 is the one alone, and one i.i.d.
    assert len(planned.members) == 2 * 3 * 5 * (4 + 4)
    assert len(planned.points) == 2 * 3 * 5 * (4 + 4 + 4 + 1)
    assert len({repr(point) for point in planned.points}) == len(planned.points)
    assert len({m.setting for m in planned.members}) == 6


def test_siblings_differ_from_their_run_in_what_they_are_for():
    planned = plan(["data=digits", "encoder=identity", "seed=3"])
    points = planned.points
    for member in planned.members:
        run = points[member.run]
        assert run["scenario"] == "latent_replay"
        assert run["seed"] == "3"
        if dict(member.head)["strategy"] != MLP:
            assert (member.reinit, member.iid, member.alone) == (None, None, None)
            continue
        naive = {k: v for k, v in {**run, "strategy": "naive"}.items() if k != REPLAY}
        assert (run == naive) == (dict(member.head)[REPLAY] == "0")
        assert naive["strategy.optimizer"] == "adam"
        assert member.reinit is not None
        assert member.iid is not None
        assert member.alone is not None
        assert points[member.reinit] == {**run, REINIT: "true"}
        assert points[member.iid] == {**naive, "scenario.n_tasks": "1"}
        assert points[member.alone] == {**naive, REINIT: "true"}


def test_words_take_the_place_of_the_studys_own():
    planned = plan(
        ["encoder=none", "data=digits", "seed=0,1", f"strategy=nmc,{MLP}", f"{MLP}.lr=0.1"]
    )
    assert len(planned.members) == 2 * (1 + 4)
    of_mlp = [p for p in planned.points if p["strategy"] != "nmc"]
    assert all(p["strategy.lr"] == "0.1" for p in of_mlp)
    assert all("strategy.lr" not in p for p in planned.points if p not in of_mlp)
    sizes = plan([f"{MLP}.replay_per_class=5", "seed=0"])
    assert {p.get(REPLAY) for p in sizes.points} == {None, "5"}
    assert not any(REPLAY in p for p in plan(["strategy=nmc"]).points)
    assert {p["model"] for p in plan(["model=linear", "seed=0"]).points} == {"linear"}
    assert "model.hidden" not in plan(["model=linear", "seed=0"]).points[0]


def test_one_task_has_no_order():
    planned = plan(["scenario.task_order=2", "seed=0"])
    whole = [p for p in planned.points if p.get("scenario.n_tasks") == "1"]
    assert whole
    assert not any("scenario.task_order" in p for p in whole)


def test_each_data_set_and_encoder_is_used_up_before_the_next():
    points = plan(["seed=0..1", "encoder=identity,none", "data=digits,mnist5k"]).points
    used = [(p["data"], p["encoder"]) for p in points]
    changes = sum(a != b for a, b in zip(used, used[1:], strict=False))  # noqa: RUF007
    assert changes == len(set(used)) - 1


@pytest.mark.parametrize(
    "word",
    [
        "scenario=scole",
        "scenario.n_tasks=3",
        "board=long-digits",
        f"{REPLAY}=3",
        f"{MLP}.reset_weights=true",
        "seed",
        "seed=",
    ],
)
def test_words_without_sense_are_refused_in_one_line(word: str):
    with pytest.raises(UsageError) as caught:
        plan([word])
    assert "\n" not in str(caught.value)
