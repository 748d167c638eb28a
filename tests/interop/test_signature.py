"""Settings from signatures: what becomes of each sort of argument."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Optional, Union

import pytest
import torch

from clbench.errors import UsageError
from clbench.interop import plain_tensors, signature


@dataclasses.dataclass(frozen=True)
class Base:
    lr: float = 0.1


class Foreign:
    def __init__(
        self,
        *,
        strength: float,
        model: Any = None,
        places: int = 200,
        share: Optional[float] = None,  # noqa: UP045
        rates: Union[float, Sequence[float]] = 0.5,  # noqa: UP007
        warm: int = 0.1,  # type: ignore[assignment]
        loose=3,
        word="separate",
        hook: Any = print,
        **rest: Any,
    ) -> None:
        """Made.

        :param strength: how strong
            it is.
        :param places: how many.
        :return: nothing
        """


def test_each_argument_is_a_setting_or_left_to_its_default() -> None:
    made = signature.settings_class(Foreign, Base, {"model"})
    fields = {f.name: (f.type, f.default) for f in dataclasses.fields(made)}
    assert fields.pop("lr")[1] == 0.1
    assert fields == {
        "strength": (float, dataclasses.MISSING),
        "places": (int, 200),
        "share": (float | None, None),
        "rates": (tuple[float, ...], (0.5,)),
        "warm": (float, 0.1),
        "loose": (int, 3),
        "word": (str, "separate"),
    }


def test_sentences_come_from_the_docstring() -> None:
    made = signature.settings_class(Foreign, Base, {"model"})
    told = {s.name: (s.default, s.help) for s in signature.described(Foreign, made, Base)}
    assert told["strength"] == ("required", "how strong it is.")
    assert told["places"] == ("200", "how many.")
    assert "lr" not in told


def test_an_argument_that_no_setting_can_give_is_refused() -> None:
    class Needy:
        def __init__(self, network: torch.nn.Module) -> None: ...

    with pytest.raises(UsageError, match="Needy needs network"):
        signature.settings_class(Needy, Base, ())


def test_a_lone_number_stands_for_itself() -> None:
    assert signature.one_or_all((2.0,)) == 2.0
    assert signature.one_or_all((2.0, 1.0)) == [2.0, 1.0]


def test_content_keys_are_equal_iff_the_samples_are() -> None:
    x = torch.tensor([[1, 2], [3, 4], [1, 2]], dtype=torch.uint8)
    keys = plain_tensors.content_keys(x)
    assert keys[0] == keys[2] != keys[1]
    assert torch.equal(keys, plain_tensors.content_keys(x.clone()))
