"""What can be reached is counted alike with and without noting the way."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch

from clbench.configure.config import resolve
from clbench.engine.build import prepare
from clbench.engine.reach import held_bytes, reachable


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: object) -> None:
        self.x = x


def counted(root: object) -> int:
    """Bytes by the way that has names."""
    storages = {}
    for _, found in reachable(root, "self"):
        if isinstance(found, torch.Tensor):
            storages[found.untyped_storage().data_ptr()] = found.untyped_storage().nbytes()
        elif isinstance(found, np.ndarray):
            storages[found.__array_interface__["data"][0]] = found.nbytes
    return sum(storages.values())


@pytest.mark.parametrize("strategy", ["naive", "ewc", "er", "lwf", "slda"])
def test_both_ways_find_the_same_bytes(strategy: str):
    run = prepare(resolve(["scenario=scole", f"strategy={strategy}"])[0])
    learner = run.strategy()
    learner.learn(run.stream.experience(0))
    assert held_bytes(learner) == counted(learner) > 0


def test_hidden_places_are_found():
    some = [torch.zeros(n) for n in range(1, 9)]
    ordered = OrderedDict(a=some[0])
    ordered.hidden = some[1]  # type: ignore[attr-defined]
    module = torch.nn.Linear(2, 2)
    module.mine = {some[2]: (frozenset({some[3]}), Slotted(some[4]))}
    root = [ordered, module, lambda: some[5], np.zeros(3), {"again": some[0]}]
    expected = sum(4 * n for n in range(1, 9)) + 4 * 6 + 24
    assert held_bytes(root) == counted(root) == expected
    assert held_bytes(root, apart_from=[some[0]]) == expected - 4
    paths = {id(found): path for path, found in reachable(root, "self")}
    assert paths[id(some[1])] == "self[0].hidden"
    assert paths[id(some[0])] == "self[0]['a']"
