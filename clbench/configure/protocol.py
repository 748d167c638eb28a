"""A board in a configuration: ``board=long-digits strategy=ewc`` fills in the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clbench.configure import settings_after_freeze
from clbench.configure.board import Board, find_board
from clbench.errors import UsageError
from clbench.util.files import FileError

FIXED: dict[str, Any] = {"ruleset": "fixed", "trials": 0, "grid_sha256": None}
"""How settings were chosen where nothing was tuned."""


FRESH_SEEDS = 2**62
"""Seeds from here on are drawn by verifiers for runs on fresh data, and are of no board."""


@dataclass(frozen=True)
class Protocol:
    """What a board says of one run."""

    board: Board
    division: str
    tuning: dict[str, Any] = field(default_factory=lambda: dict(FIXED))
    """``{ruleset: fixed | tuned, trials, grid_sha256}``; the hash is the trial table's."""
    is_settled: bool = True
    """Whether the division is settled; if not, it will be the one that fits what the strategy does."""

    def as_dict(self) -> dict[str, str]:
        """For the record."""
        board = self.board
        return {"name": board.name, "protocol": board.protocol, "division": self.division}

    def with_budget(self, point: Mapping[str, Any], settings: Collection[str]) -> dict[str, Any]:
        """The run's keys with the board's training and budget, where the strategy has them."""
        training = {
            f"strategy.{name}": value
            for name, value in self.board.training.items()
            if name in settings
        }
        return {**training, **self._budget(settings), **point}

    def _budget(self, settings: Collection[str]) -> dict[str, Any]:
        budget = {"epochs": self.board.budget.epochs, "batch_size": self.board.budget.batch_size}
        return {
            f"strategy.{name}": value
            for name, value in budget.items()
            if value is not None and name in settings
        }

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a resolved configuration that sets what the board fixes to anything else.

        Raises:
            UsageError: naming the setting.
        """
        fixed = {**self.board.fixed(self.division), **self._budget(set(config["strategy"]))}
        encoders = fixed.get("encoder"), config.get("encoder", {}).get("name")
        if encoders[0] != encoders[1]:
            raise UsageError(
                f"board {self.board.name!r} fixes encoder={encoders[0] or 'none'}, not "
                f"{encoders[1] or 'none'}; drop it, or run without board="
            )
        tuning = config["seed"] in self.board.tuning_seeds
        if tuning:
            fixed["evaluate_on"] = "val"  # tuning never opens test
        for key, value in fixed.items():
            group, dot, name = key.partition(".")
            if isinstance(config[group], Mapping):
                given = config[group][name if dot else "name"]
            else:
                given = config[key]
            if given != value:
                shown = "null" if value is None else value
                raise UsageError(
                    f"board {self.board.name!r} fixes {key}={shown}, not {given}; drop it, or run "
                    "without board="
                )
        for key in settings_after_freeze.changed(fixed, config):
            raise UsageError(
                f"{key} came after board {self.board.name!r} was frozen, so it keeps its default; drop "
                "it, or run without board="
            )
        if not tuning and config["seed"] not in self.board.seeds and config["seed"] < FRESH_SEEDS:
            raise UsageError(
                f"seed={config['seed']}: board {self.board.name!r} has the seeds "
                f"{', '.join(map(str, self.board.seeds))}"
            )


def spread(choices: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The choices of a sweep, over the board's seeds where none are given."""
    if len(choices["board"]) != 1:
        raise UsageError("one board at a time: board=NAME")
    if "seed" in choices:
        return dict(choices)
    board = find_board(str(choices["board"][0]))
    return {**choices, "seed": list(board.seeds)}


def protocol_of(point: Mapping[str, Any]) -> tuple[Protocol | None, dict[str, Any]]:
    """The protocol of a run's ``{key: value}``, and the keys with what it fixes filled in.

    Raises:
        UsageError: there is no such board or division, or what was tuned is not of this board.
    """
    rest = {k: v for k, v in point.items() if k not in ("board", "division", "tuned")}
    if "board" not in point:
        for key in ("division", "tuned"):
            if key in point:
                raise UsageError(f"{key}= goes with board=")
        return None, rest
    board = find_board(str(point["board"]))
    division = str(point.get("division", board.divisions[0]))
    if division not in board.divisions:
        raise UsageError(
            f"division={division}: board {board.name!r} has {', '.join(board.divisions)}"
        )
    fixed = board.fixed(division)
    for group in ("scenario", "data", "encoder", "model"):
        # Another option of a group is refused by name, before its settings make no sense.
        name = str(rest.get(group, "")).partition(":")[0] if group == "encoder" else rest.get(group)
        if group in rest and group in fixed and str(name) != fixed[group]:
            raise UsageError(
                f"board {board.name!r} fixes {group}={fixed[group]}, not {rest[group]}; drop it, or "
                "run without board="
            )
    tuning = dict(FIXED)
    if "tuned" in point:
        tuning, best = _read_tuning(Path(str(point["tuned"])), board, str(rest.get("strategy")))
        rest = {**best, **rest}
    return Protocol(board, division, tuning, "division" in point), {**fixed, **rest}


def _read_tuning(path: Path, board: Board, strategy: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``clbench tune`` wrote: the tuning for the record, and the best settings."""
    from clbench.configure import tuning

    try:
        data = tuning.read(path)
        if data["board"] != {"name": board.name, "sha256": board.sha256}:
            raise UsageError(f"tuned={path}: was tuned on another board or version")
        if data["strategy"] != Path(strategy).stem:
            raise UsageError(f"tuned={path}: is of strategy {data['strategy']!r}")
        told = {
            "ruleset": "tuned",
            "trials": len(data["results"]),
            "grid_sha256": tuning.table_sha256(data),
        }
        return told, dict(data["best"])
    except (FileError, ValueError) as error:
        raise UsageError(f"tuned={path}: is not what clbench tune writes: {error}") from error
