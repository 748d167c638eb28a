"""Which settings a search tries next: at random, or by a sampler of Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from clbench.errors import UsageError
from clbench.space import Choices, Log, Space, as_word, drawn

SAMPLERS = ("random", "tpe")
"""``tpe`` is the tree-structured Parzen estimator of Optuna (Bergstra et al. 2011)."""


class Sampler(Protocol):
    """Proposes settings, and is told how good they were."""

    at_once: bool
    """Whether all proposals can be made before any is told."""

    def ask(self, trial: int) -> dict[str, str]:
        """The settings of a trial, as words; none for trial 0."""

    def tell(self, trial: int, value: float) -> None:
        """The mean of the primary in a trial."""


class Random:
    """Draws that anyone can compute again."""

    at_once = True

    def __init__(self, spaces: Mapping[str, Space], key: str) -> None:
        self._spaces, self._key = spaces, key

    def ask(self, trial: int) -> dict[str, str]:
        """The settings of a trial."""
        return drawn(self._spaces, self._key, trial)

    def tell(self, trial: int, value: float) -> None:
        """Nothing is learnt from it."""


class Tpe:
    """Optuna's TPE, seeded; the default settings are trial 0 and not told."""

    at_once = False

    def __init__(self, spaces: Mapping[str, Space]) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UsageError(
                "--sampler tpe needs Optuna: pip install 'clbench[optuna]', or drop --sampler"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=0)
        self._study: Any = optuna.create_study(direction="maximize", sampler=sampler)
        self._spaces = spaces
        self._asked: dict[int, Any] = {}

    def ask(self, trial: int) -> dict[str, str]:
        """The settings of a trial."""
        if trial == 0:
            return {}
        one = self._asked[trial] = self._study.ask()
        return {name: as_word(_suggest(one, name, space)) for name, space in self._spaces.items()}

    def tell(self, trial: int, value: float) -> None:
        """Learn how good the settings were."""
        if trial in self._asked:
            self._study.tell(self._asked.pop(trial), value)


def _suggest(trial: Any, name: str, space: Space) -> Any:
    if isinstance(space, Choices):
        return trial.suggest_categorical(name, [*space.values])
    return trial.suggest_float(name, space.low, space.high, log=isinstance(space, Log))


def make_sampler(name: str, spaces: Mapping[str, Space], key: str) -> Sampler:
    """A sampler by its name.

    Raises:
        UsageError: it needs a library that is not installed.
    """
    return Tpe(spaces) if name == "tpe" else Random(spaces, key)
