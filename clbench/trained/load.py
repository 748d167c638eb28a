"""Loads a trained strategy: from a run's folder, or from a file of ``clbench export --model``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clbench.configure.sweep import read_file
from clbench.data.latent import SILENT
from clbench.engine.build import Run, prepare
from clbench.engine.revive import revived
from clbench.errors import UsageError
from clbench.results.record import Record
from clbench.trackers.progress import say
from clbench.trained import portable
from clbench.trained.loaded import Loaded
from clbench.trained.parts import classes_of, configured

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Place:
    """A run's folder, read."""

    folder: Path
    run: Run
    record: Record | None


def load(path: str | Path, *words: str, device: str = "auto") -> Loaded:
    """A trained strategy, ready to predict.

    Args:
        path: a run's folder, such as ``runs/scole/ewc-1a2b3c4d/seed0``, or a file that
            ``clbench export --model`` wrote.
        words: settings that are others here: ``data.path=...``, ``strategy=mine.py``.
        device: where it predicts.

    Raises:
        UsageError: it is neither, or its plug-ins or data are not here.
        ClbenchError: it is damaged.
    """
    given = Path(path)
    if given.is_file() and given.name not in (CONFIG, "checkpoint", "record.json"):
        return portable.load(given, words, device)
    place = find(given, words, device)
    strategy = revived(place.run, place.folder)
    threads = place.run.config.common.threads
    return Loaded(strategy, classes_of(place.run.stream), threads, place.record, lambda: place.run)


def find(path: Path, words: Sequence[str] = (), device: str = "auto") -> Place:
    """What a run's folder holds; its data are read, and nothing is trained.

    Raises:
        UsageError: it is no run's folder, or its plug-ins or data are not here.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / CONFIG).is_file():
        raise UsageError(
            f"{path}: is no run's folder (such as runs/scole/ewc-1a2b3c4d/seed0), and no file of "
            "clbench export --model"
        )
    config = configured(read_file(folder / CONFIG), words, device)
    run = prepare(config, sink=SILENT)
    record = Record.load(folder / "record.json") if (folder / "record.json").is_file() else None
    if record is not None and record.plugin_sha256 not in (None, run.plugin_sha256):
        say(f"{folder}: its plug-ins have changed since it ran; its answers may be others now")
    return Place(folder, run, record)
