"""All-Pairs as a stream: difficulties change the images and never the labels; TypeNet learns them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import clbench
from clbench.configure.config import resolve_point
from clbench.data.pairs.generator import Difficulty
from clbench.data.pairs.pool import PairsPool
from clbench.data.sets.all_pairs import AllPairs
from clbench.errors import UsageError
from clbench.models.typenet import TypeNet
from clbench.stream import Stream

SIZES = {"n_train": 90, "n_test": 40, "side": 44, "smallest": 8, "largest": 9}


@cache
def pool() -> PairsPool:
    return AllPairs(**SIZES).pool(torch.device("cpu"))  # type: ignore[arg-type]


def make(seed: int = 0, **settings: object) -> Stream:
    point = {f"scenario.{k}": v for k, v in settings.items()}
    config = resolve_point({"scenario": "all_pairs", "strategy": "naive", **point})
    stream: Stream = config.scenario.stream(pool(), seed)
    return stream


def test_a_task_shows_the_same_numbers_at_its_difficulty() -> None:
    stream = make(difficulty=["1-2", "3-4"])
    for t, stop in enumerate((Difficulty(1, 2), Difficulty(3, 4))):
        draw = stream.draw(t)
        task = stream.gather(draw)
        assert sorted(draw.index.tolist()) == list(range(90))
        assert torch.equal(task.x, pool().generator.images(draw.index, stop))
        assert np.array_equal(task.y.numpy(), pool().labels("train")[draw.index])
    assert not set(stream.draw(0).keys.tolist()) & set(stream.draw(1).keys.tolist())


def test_all_difficulties_are_evaluated_and_more_tasks_share_one() -> None:
    stream = make(difficulty=["1-2", "2-2"], n_tasks=5)
    assert [stream.plan(t).domain for t in range(5)] == [0, 0, 0, 1, 1]
    assert set(stream.draw(0).keys.tolist()) == set(stream.draw(2).keys.tolist())
    assert {(cell.label, cell.domain) for cell in stream.cells} == {
        (label, domain) for label in (0, 1) for domain in (0, 1)
    }


def test_one_difficulty_by_itself_is_evaluated_as_it_is_learnt() -> None:
    world = make(difficulty=["3-4"]).world()
    shown = {image.numpy().tobytes() for image in world.x}
    numbers = pool().numbers("test", np.arange(40))
    wanted = pool().generator.images(numbers, Difficulty(3, 4))
    assert shown == {image.numpy().tobytes() for image in wanted}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"difficulty": ["4"]}, "pairs-types"),
        ({"difficulty": ["4-1"]}, "pairs-types"),
        ({"difficulty": ["1-2", "1-2"]}, "each once"),
        ({"difficulty": ["5-4"]}, "data.side="),
        ({"n_tasks": 2}, "name fewer"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(**settings)


def test_other_data_are_refused() -> None:
    with pytest.raises(UsageError, match="needs data=all_pairs"):
        clbench.prepare("scenario=all_pairs", "data=digits", "strategy=naive", "model=mlp")


def test_typenet_is_as_large_as_the_paper_says_its_layers_are() -> None:
    network = TypeNet().build((76, 76), 2, 1 / 255)
    convolutions = 128 * 9 + 128 * 128 * (25 + 25 + 9) + 2 * 128 * 64
    dense = 193 * 192 + 193 * 96 + 97 * 48 + 49 * 2
    assert sum(p.numel() for p in network.parameters()) == convolutions + dense


def test_typenet_counts_wherever_things_are() -> None:
    """Its histogram of an image does not change where the image is shifted by whole strides."""
    torch.manual_seed(0)
    network = TypeNet(channels=8, types=8).build((72, 72), 2, 1.0).eval()
    x = torch.zeros(1, 72, 72)
    x[0, 30:36, 28:34] = torch.rand(6, 6)
    shifted = x.roll((4, 6), (1, 2))
    assert torch.allclose(network(x), network(shifted), rtol=0, atol=1e-6)
    blank = network(torch.zeros_like(x))
    assert float((network(x) - blank).detach().abs().max()) > 1e-4
