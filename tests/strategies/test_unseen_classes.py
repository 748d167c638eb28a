"""What leaves a class out of its softmax has not trained its row, and must not answer with it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from golden import AT_THE_END

import clbench
from clbench.plugins.registry import plugins
from clbench.strategy import GradientStrategy
from clbench.stream import TaskData


def masks_by_default(name: str) -> bool:
    """Whether a strategy leaves classes of other tasks out of its softmax unless told otherwise."""
    cls = plugins("strategy")[name].load()
    if not issubclass(cls, GradientStrategy):
        return False
    defaults = {f.name: f.default for f in dataclasses.fields(cls.Config)}
    return defaults["mask"] == "group" and defaults["mask_scope"] == "task"


MASKED = [name for name in plugins("strategy") if masks_by_default(name)]


def test_there_are_strategies_that_mask() -> None:
    assert {"slca", "inflora", "l2p", "dualprompt", "coda_prompt", "ease"} <= set(MASKED)


@pytest.mark.parametrize("name", MASKED)
def test_classes_to_come_are_no_answers(name: str) -> None:
    words = AT_THE_END.get(name, ("model=vit_tiny",))
    run = clbench.prepare(
        "scenario=class_incremental", "data=digits", f"strategy={name}", "device=cpu", *words
    )
    torch.manual_seed(0)
    strategy = run.strategy()
    images = torch.randint(17, (60, 8, 8), dtype=torch.uint8)
    for here in ([3, 7], [0, 5]):
        y = torch.tensor(here).repeat(10)
        key, classes = torch.arange(20), torch.tensor(sorted(here))
        strategy.learn(TaskData(images[:20], y, key, classes=classes, ends_task=True))
        known = {3, 7} if here == [3, 7] else {0, 3, 5, 7}
        with torch.no_grad():
            answers = strategy(images)
        assert answers.shape == (60, 10)
        assert set(answers.argmax(1).tolist()) <= known
        assert torch.isfinite(answers[:, sorted(known)]).all()
