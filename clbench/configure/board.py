"""Boards: frozen protocols. What a board fixes is final; all else is the entrant's."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from clbench.errors import UsageError
from clbench.plugins.registry import PACKAGE, did_you_mean
from clbench.util.atomic import write_atomically
from clbench.util.files import FileError, read_json, read_yaml
from clbench.util.hashing import sha256_of

MIN_SEEDS = 10
DIVISIONS = {
    "network": "trains the board's network from scratch",
    "any": "any solver of the board's data, from scratch; the network need not be used",
    "open": "any network, also a pretrained one",
}
"""The divisions of a new board, and what each is for."""
ANCHORS = ("floor", "naive", "ceiling")
"""The fixed points of a board's scale."""
FIRST_DIVISIONS = {"closed": "the board's network", "open": DIVISIONS["open"]}
"""Those of boards of protocol 1, which did not tell solvers apart."""


@dataclass(frozen=True)
class Budget:
    """How much training the protocol allows; never wall-clock."""

    epochs: int | None = None
    """Passes over each experience; fixes ``strategy.epochs`` where a strategy has it."""
    batch_size: int | None = None
    """Samples per step; fixes ``strategy.batch_size`` where a strategy has it."""
    samples: int | None = None
    """Most training samples that may be delivered in a run."""
    train_flops: int | None = None
    """Most floating-point operations of training in a run."""


@dataclass(frozen=True)
class Anchor:
    """A fixed point of the primary metric's scale."""

    strategy: str
    """``chance``, or the strategy that was run on the board's seeds."""
    mean: float
    sd: float
    """Standard deviation over seeds (n - 1); 0 for chance."""
    train_flops: int = 0
    """Mean training cost of its runs; 0 for chance."""
    words: tuple[str, ...] = ()
    """Its settings beyond what the board gives everyone: ``naive.lr=0.03``."""


AnchorT = TypeVar("AnchorT", bound=Anchor)


@dataclass(frozen=True)
class Reference(Anchor):
    """A strategy that was run when the board was frozen, beside the two anchors."""

    division: str = "any"
    """``network`` where it trained the board's network."""


@dataclass(frozen=True)
class Tuning:
    """How the settings of every entry are chosen (``clbench tune``)."""

    trials: int
    """Points of the random search, the defaults among them; the same number for everyone."""
    tasks: int | None = None
    """A trial learns so many of the first tasks of the stream; None: all of them."""


@dataclass(frozen=True)
class Board:
    """One protocol, as in ``board.yaml``. Results are comparable within one major.minor version."""

    name: str
    """The folder's name."""
    folder: Path
    protocol: str
    """``major.minor``; any change of what is below is another version."""
    title: str
    description: str
    settings: Mapping[str, Any]
    """Every setting but the strategy's, the model's and the seed, resolved: ``{scenario: {name, …},
    data: {name, …}, eval_every, evaluate_on, threads}``."""
    model: Mapping[str, Any]
    """``{name, …}``: the network, which is fixed in all divisions but the open one."""
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    """Anybody may tune on these, scored on ``val``; none of them is in ``seeds``."""
    pool_sha256: str
    stream_sha256: Mapping[int, str]
    """Per seed: the chain over everything that is delivered."""
    budget: Budget
    primary: str
    """The metric that ranks; higher is better."""
    floor: Anchor
    naive: Anchor
    ceiling: Anchor
    divisions: tuple[str, ...]
    sha256: str
    """Over all but the folder; a board whose file does not match it is refused."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """``{schedule: cosine, …}``: settings of a strategy that has them, where the entrant says
    nothing."""
    tuning: Tuning | None = None
    """None: a board from before tuning was part of the protocol."""
    references: tuple[Reference, ...] = ()
    """Other strategies that the best possible was sought among."""

    def fixed(self, division: str) -> dict[str, Any]:
        """What the protocol fixes, as ``{key: value}`` with dots (``strategy.`` keys where had)."""
        flat: dict[str, Any] = {}
        groups = {**self.settings, **({"model": self.model} if division != "open" else {})}
        for key, value in groups.items():
            if isinstance(value, Mapping):
                flat[key] = value["name"]
                flat.update({f"{key}.{k}": v for k, v in value.items() if k != "name"})
            else:
                flat[key] = value
        return flat

    def ceiling_of(self, division: str) -> Anchor:
        """The upper end of a division's scale.

        In *network* it is the ceiling's strategy, which trains the board's network; elsewhere the
        best of that and of the references.
        """
        if division in ("network", "closed"):
            return self.ceiling
        return max((self.ceiling, *self.references), key=lambda anchor: anchor.mean)

    @property
    def entries(self) -> Path:
        """The folder of entries."""
        return self.folder / "entries"

    def content(self) -> dict[str, Any]:
        """The protocol as plain data: what ``board.yaml`` holds, less its own hash."""
        data = dataclasses.asdict(self)
        for name in ("name", "folder", "sha256"):
            del data[name]
        if self.tuning is None:  # such a board's hash is of what there was when it was frozen
            del data["tuning"]
        if not self.training:
            del data["training"]
        if not self.references:
            del data["references"]
        for anchor in (*data.get("references", ()), *(data[key] for key in ANCHORS)):
            if words := anchor.pop("words"):
                anchor["words"] = [*words]
        data["settings"] = {
            k: dict(v) if isinstance(v, Mapping) else v for k, v in data["settings"].items()
        }
        data["model"] = dict(data["model"])
        data["stream_sha256"] = {str(seed): sha for seed, sha in self.stream_sha256.items()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}


def builtin_boards() -> Path:
    """Where the boards that come with clbench are: in the package, or beside it in a checkout."""
    inside = PACKAGE / "leaderboards"
    return inside if inside.is_dir() else PACKAGE.parent / "leaderboards"


def list_boards(root: Path) -> list[Board]:
    """All boards below a folder, by name."""
    return [load_board(path.parent) for path in sorted(root.glob("*/board.yaml"))]


def find_board(value: str, root: Path | None = None) -> Board:
    """A board by name (below ``root``, else of those that come with clbench), or by its folder.

    Raises:
        UsageError: there is none, with the nearest name; or it is malformed.
    """
    given = Path(value)
    if (given / "board.yaml").is_file():
        return load_board(given)
    roots = [root] if root is not None else [Path("leaderboards"), builtin_boards()]
    for folder in roots:
        if (folder / value / "board.yaml").is_file():
            return load_board(folder / value)
    names = sorted({path.parent.name for r in roots for path in r.glob("*/board.yaml")})
    raise UsageError(
        f"unknown board {value!r}{did_you_mean(value, names)} (clbench board list; or the path of a "
        "folder with a board.yaml)"
    )


def load_board(folder: Path) -> Board:
    """Read and check a ``board.yaml``.

    Raises:
        UsageError: it is missing, malformed, not what its hash says, or not what the ledger names.
    """
    path = folder / "board.yaml"
    try:
        data = read_yaml(path)
        board = _from_content(folder, data)
    except FileError as error:
        raise UsageError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: is not a frozen board: {error}") from error
    if sha256_of(board.content()) != board.sha256:
        raise UsageError(
            f"{path}: was changed after it was frozen; a protocol is final: make a new version "
            "(clbench board freeze)"
        )
    pinned = pinned_sha256(folder)
    if pinned is not None and pinned != board.sha256:
        raise UsageError(
            f"{path}: is not the protocol that {pin_file(folder)} names; a protocol is final: restore "
            "it, or make a new version"
        )
    return board


def pin_file(folder: Path) -> Path:
    """Where the ledger of a board says which protocol it is of."""
    return folder / "verified" / "board.json"


def pinned_sha256(folder: Path) -> str | None:
    """The hash of the protocol that a board's ledger is of; None where it has none.

    Raises:
        UsageError: the file is malformed.
    """
    path = pin_file(folder)
    if not os.path.lexists(path):
        return None
    try:
        data = read_json(path)
        sha = data["sha256"]
        if set(data) != {"sha256"} or not re.fullmatch(r"[0-9a-f]{64}", sha):
            raise ValueError("must hold sha256 and nothing else")
    except FileError as error:
        raise UsageError(str(error)) from error
    except (TypeError, KeyError, ValueError) as error:
        raise UsageError(f"{path}: is no pin of a board: restore it") from error
    return str(sha)


def pin(board: Board) -> None:
    """Write which protocol a board's ledger is of; only who keeps the ledger may."""
    path = pin_file(board.folder)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, (json.dumps({"sha256": board.sha256}) + "\n").encode())


def _parts(data: Mapping[str, Any]) -> Iterator[str]:
    """What the parts of a board must have beside their types."""
    settings = data["settings"]
    groups = {"scenario": settings.get("scenario"), "data": settings.get("data")}
    for name, group in {**groups, "model": data["model"]}.items():
        if not isinstance(group, Mapping) or not isinstance(group.get("name"), str):
            yield f"{name} must be a mapping with a name"
    if "eval_every" not in settings:
        yield "settings.eval_every is missing"
    if not data["seeds"] or set(data["seeds"]) != set(map(int, data["stream_sha256"])):
        yield "stream_sha256 must have a hash for each of the seeds"
    if not data["divisions"]:
        yield "divisions is empty"
    if len({*data["divisions"]} & {"closed", "network"}) > 1:
        yield "divisions has closed, which is that of boards without network and any"


def _anchor(kind: type[AnchorT], data: Mapping[str, Any]) -> AnchorT:
    return kind(**{**data, "words": tuple(data.get("words", ()))})


def _from_content(folder: Path, data: Any) -> Board:
    from clbench.configure.board_model import BoardForm
    from clbench.util import schema

    wrong = schema.faults(BoardForm, data) or [*_parts(data)]
    if wrong:
        raise ValueError("; ".join(wrong[:3]))
    return Board(
        name=folder.resolve().name,
        folder=folder,
        **{
            **data,
            "seeds": tuple(data["seeds"]),
            "tuning_seeds": tuple(data["tuning_seeds"]),
            "divisions": tuple(data["divisions"]),
            "stream_sha256": {int(seed): sha for seed, sha in data["stream_sha256"].items()},
            "budget": Budget(**data["budget"]),
            "tuning": Tuning(**data["tuning"]) if data.get("tuning") else None,
            "references": tuple(_anchor(Reference, one) for one in data.get("references", ())),
            **{key: _anchor(Anchor, data[key]) for key in ANCHORS},
        },
    )
