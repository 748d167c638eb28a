"""Any classic benchmark of Avalanche: CORe50, CLEAR, CLStream51, ...; ``data=avalanche:NAME``.

Source and licence: those of the benchmark. ``clbench list data 'avalanche:*'`` names them. The pool
has the samples of all experiences, and brings their stream along: ``scenario=avalanche:NAME``
delivers it; other scenarios make streams of their own. ``data.arguments`` are arguments of the
benchmark, such as ``[scenario=nicv2_391,mini=true]`` of CORe50. Nothing is downloaded unless
``data.download=true``. Some benchmarks unpickle files of their folder (CORe50's ``paths.pkl``,
say): take them from their source.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from clbench import Pool, UsageError
from clbench.data.decoded import Watch, unwatched
from clbench.data.experiences import ExperiencePool
from clbench.data.files import data_roots
from clbench.data.foreign import ForeignData, Sources, stamps, tree
from clbench.data.offline import offline
from clbench.plugins.registry import did_you_mean
from clbench.util.optional import require

GIVEN = ("dataset_root", "train_transform", "eval_transform", "download", "return_task_id")
"""Arguments of the benchmarks that are not for ``data.arguments``."""


@dataclass(frozen=True)
class Avalanche(ForeignData):
    """Images of all experiences, (3, size, size) or (size, size) uint8."""

    argument: ClassVar[str] = "set"

    set: str = ""
    """Name of the benchmark, as in avalanche.benchmarks.classic."""

    arguments: tuple[str, ...] = ()
    """Arguments of the benchmark, such as [scenario=nicv2_79,mini=true]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.set:
            raise UsageError(
                "data=avalanche needs a benchmark: data=avalanche:NAME "
                "(clbench list data 'avalanche:*')"
            )

    @classmethod
    def options(cls) -> Mapping[str, str]:
        """The benchmarks of the installed Avalanche."""
        return {name: _first_line(made) for name, made in _classic().items()}

    @property
    def word(self) -> str:
        """``data=avalanche:NAME``."""
        return f"data=avalanche:{self.set}"

    def sources(self) -> Sources:
        """Open the benchmark.

        Raises:
            UsageError: Avalanche, the benchmark, an argument or the files are missing.
        """
        return self._opened()[0]

    def load(self, device: torch.device, watch: Watch = unwatched) -> Pool:
        """Open the decoded samples, with the experiences that they belong to."""
        sizes = self._opened()[1]
        pool = super().load(device, watch)
        ends = {name: np.cumsum([0, *part]) for name, part in sizes.items()}
        cuts = {name: [np.arange(a, b) for a, b in pairwise(end)] for name, end in ends.items()}
        return ExperiencePool(pool, cuts["train"], cuts["test"], self.set)

    def _opened(self) -> tuple[Sources, dict[str, list[int]]]:
        """The samples, experience after experience, and how many each experience has."""
        benchmark, root = self._benchmark()
        streams = {name: list(getattr(benchmark, f"{name}_stream")) for name in ("train", "test")}
        parts = [experience.dataset for stream in streams.values() for experience in stream]
        sizes = {name: [len(e.dataset) for e in stream] for name, stream in streams.items()}
        labels = np.concatenate([np.asarray(list(part.targets), dtype=np.int64) for part in parts])
        recipe: dict[str, object] = {
            "library": "avalanche-lib",
            "set": self.set,
            "arguments": list(self.arguments),
            "files": stamps(tree(root)) if root is not None and root.is_dir() else "",
            "labels": hashlib.sha256(labels.tobytes() + repr(sizes).encode()).hexdigest(),
        }
        return Sources(_Images(parts), labels, sum(sizes["train"]), (), recipe), sizes

    def _benchmark(self) -> tuple[Any, Path | None]:
        require("avalanche", self.word, "avalanche")
        known = _classic()
        if self.set not in known:
            raise UsageError(
                f"avalanche-lib has no benchmark {self.set!r}{did_you_mean(self.set, known)} "
                "(clbench list data 'avalanche:*')"
            )
        made, given = known[self.set], self._arguments(known[self.set])
        takes = inspect.signature(made).parameters
        roots = data_roots(self.path, "avalanche")
        root = roots[0] if roots else None
        if "dataset_root" in takes and root is not None:
            given["dataset_root"] = str(root)
        if "download" in takes:
            given["download"] = self.download
        given.update({name: None for name in GIVEN[1:3] if name in takes})
        try:
            with _quiet(), offline(self.download):
                return made(**given), root
        except Exception as error:  # a benchmark may raise anything where its files are missing
            reason = (str(error).splitlines() or [""])[0][:150]
            raise UsageError(
                f"{self.word}: Avalanche cannot open it in {root or 'its usual place'} "
                f"({type(error).__name__}: {reason}); data.path=FOLDER names a copy, "
                "data.download=true lets Avalanche fetch it"
            ) from error

    def _arguments(self, made: Callable[..., Any]) -> dict[str, Any]:
        """``data.arguments`` by name, as the benchmark takes them."""
        known = [name for name in inspect.signature(made).parameters if name not in GIVEN]
        found = {}
        for word in self.arguments:
            name, equals, text = word.partition("=")
            if not equals or name not in known:
                raise UsageError(
                    f"data.arguments: {self.set} takes no {word!r}{did_you_mean(name, known)}; "
                    f"it takes {', '.join(known)}"
                )
            plain = {"true": "True", "false": "False", "null": "None"}.get(text, text)
            try:
                found[name] = ast.literal_eval(plain)
            except (ValueError, SyntaxError):
                found[name] = text
        return found


class _Images:
    """The pictures of all experiences, one after another."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts, self._ends = parts, np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: Any) -> Any:
        which = int(np.searchsorted(self._ends, number, side="right"))
        part = self._parts[which]
        image = part[int(number - (self._ends[which] - len(part)))][0]
        return _picture(image) if isinstance(image, torch.Tensor) else image


def _picture(x: torch.Tensor) -> Any:
    """A picture of a tensor ``(C, H, W)`` or ``(H, W)``: uint8, or floats from 0 to 1."""
    from PIL import Image

    values = (x * 255).round().to(torch.uint8) if x.is_floating_point() else x
    values = values.squeeze(0) if values.dim() == 3 and len(values) == 1 else values
    return Image.fromarray((values.permute(1, 2, 0) if values.dim() == 3 else values).numpy())


def _classic() -> dict[str, Callable[..., Any]]:
    """The benchmarks of the installed Avalanche that have experiences to learn from, by name."""
    require("avalanche", "data=avalanche", "avalanche")
    with _quiet():
        from avalanche.benchmarks import classic
    return {
        name: made
        for name, made in sorted(vars(classic).items())
        if inspect.isfunction(made) and "train_transform" in inspect.signature(made).parameters
    }


def _first_line(made: Callable[..., Any]) -> str:
    return (inspect.getdoc(made) or "").partition("\n")[0].rstrip(".:")


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Avalanche and the packages that it imports print and warn of."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield
