"""``tracker=`` words: which observers a run has. They are no part of the run's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clbench.configure.config import tracker_settings
from clbench.configure.words import as_typed, split_top, unquote
from clbench.errors import UsageError
from clbench.plugins.blame import blamed
from clbench.plugins.registry import GROUPS, Plugin, find
from clbench.plugins.source import settings
from clbench.tracker import Tracker

DEFAULT = "tensorboard"
NONE = "none"


@dataclass(frozen=True)
class Chosen:
    """A tracker and its settings; plain data, which a worker process gets."""

    plugin: Plugin
    given: tuple[tuple[str, str], ...] = ()

    def build(self) -> Tracker:
        """A new tracker, for one run.

        Raises:
            UsageError: it does not import, a setting is wrong, a package is missing, or its
                constructor raises.
        """
        cls = self.plugin.load()
        settings = tracker_settings(self.plugin, cls, dict(self.given))
        with blamed("cannot be built", self.plugin, "__init__", cls.__name__):
            tracker: Tracker = cls(settings)
        return tracker


@dataclass(frozen=True)
class Asked:
    """What words and a file ask for: settings of runs, and trackers apart from them."""

    words: list[str]
    """The words about runs."""
    settings: dict[str, Any]
    """The file's settings of runs."""
    trackers: tuple[Chosen, ...]
    tracker_words: tuple[str, ...]
    """The words that ask for these trackers; empty where they are the default."""


def asked(
    words: Sequence[str], file: Mapping[str, Any] | None = None, default: str = DEFAULT
) -> Asked:
    """Take trackers out of words and of a file's settings, which the words override.

    Args:
        words: ``key=value`` as on the command line.
        file: settings as ``clbench.configure.sweep.read_file`` gives them, such as
            ``{"tracker": "csv", "strategy.lr": 0.1}``.
        default: the trackers where neither chooses them.

    Raises:
        UsageError: there is no such tracker or setting.
    """
    file = {} if file is None else file
    keys = {_parted(word)[0] for word in words}
    own = {key: value for key, value in file.items() if _may_concern_trackers(key)}
    if "tracker" in keys:
        # Other trackers: the file's settings of its own do not apply to them.
        listed = (
            _word("tracker", file["tracker"]).partition("=")[2] if "tracker" in file else default
        )
        dropped = {"tracker", *(_name(part) for part in split_top(listed))}
        file = {key: v for key, v in file.items() if key.partition(".")[0] not in dropped}
        own = {key: value for key, value in own.items() if key in file}
    from_file = {_word(key, value): key for key, value in own.items() if key not in keys}
    rest, trackers = take_trackers([*from_file, *words], default)
    taken = [word for word in (*from_file, *words) if word not in rest]
    gone = {from_file[word] for word in taken if word in from_file}
    return Asked(
        words=[word for word in rest if word not in from_file],
        settings={key: value for key, value in file.items() if key not in gone},
        trackers=trackers,
        tracker_words=tuple(taken),
    )


def _may_concern_trackers(key: str) -> bool:
    """``tracker``, ``tracker.x`` and ``wandb.x``; and groups, whose options may share a name."""
    head, dot, _ = key.partition(".")
    return head == "tracker" or (head in GROUPS) != bool(dot)


def _word(key: str, value: Any) -> str:
    """A setting of a file as one types it."""
    if key == "tracker":
        parts = value if isinstance(value, list) else [NONE if value is None else value]
        return f"{key}={','.join(map(str, parts)) or NONE}"
    return f"{key}={as_typed(value) if isinstance(value, str) else json.dumps(value)}"


def take_trackers(
    words: Sequence[str], default: str = DEFAULT
) -> tuple[list[str], tuple[Chosen, ...]]:
    """Part the words about trackers from those about the runs.

    ``tracker=csv,wandb`` is a list and no sweep. ``tracker.NAME=...`` sets every chosen tracker that
    has such a setting, ``wandb.NAME=...`` the one, unless something else of the run has its name.

    Args:
        words: ``key=value`` as on the command line.
        default: the trackers where no word chooses them.

    Returns:
        The other words in their order, and the trackers.

    Raises:
        UsageError: there is no such tracker or setting.
    """
    pairs = [(word, *_parted(word)) for word in words]
    lists = [value for _, key, value in pairs if key == "tracker"]
    if len(lists) > 1:
        raise UsageError("tracker is given twice; write tracker=csv,wandb for several")
    plugins = _find_all(lists[0] if lists else default)
    names = set(plugins) - _taken(pairs)
    known = {name: {s.name for s in settings(plugin.path)} for name, plugin in plugins.items()}
    given: dict[str, dict[str, str]] = {name: {} for name in plugins}
    rest: list[str] = []
    for word, key, value in pairs:
        head, _, setting = key.partition(".")
        if head == "tracker":
            if not setting:
                continue
            having = [name for name in plugins if setting in known[name]]
            if not having:
                chosen = ", ".join(plugins) or NONE
                raise UsageError(f"{word}: no tracker of this run ({chosen}) has this setting")
            for name in having:
                given[name].setdefault(setting, unquote(value))
        elif setting and head in names:
            given[head][setting] = unquote(value)
        else:
            rest.append(word)
    return rest, tuple(Chosen(p, tuple(given[name].items())) for name, p in plugins.items())


def _parted(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _find_all(text: str) -> dict[str, Plugin]:
    """The trackers of a comma-separated list, by name."""
    if text == NONE:
        return {}
    found: dict[str, Plugin] = {}
    for word in split_top(text):
        if not word or word == NONE:
            raise UsageError(f"tracker={text}: write tracker=NAME,NAME or tracker={NONE} alone")
        plugin = find("tracker", word)
        if plugin.name in found:
            raise UsageError(f"tracker={text}: {plugin.name} is given twice")
        found[plugin.name] = plugin
    return found


def _taken(pairs: Sequence[tuple[str, str, str]]) -> set[str]:
    """The names of what else the run is made of; their settings are not a tracker's."""
    values = (value for _, key, value in pairs if key in GROUPS and value)
    return {_name(part) for value in values for part in split_top(value)}


def _name(value: str) -> str:
    """``mine`` of ``path/mine.py``, ``timm`` of ``timm:resnet18``."""
    return value.rpartition("/")[2].removesuffix(".py").partition(":")[0]


def as_word(tracker: str | Sequence[str] | None) -> str:
    """The ``tracker`` argument of ``clbench.run`` as one types it; None is none."""
    if tracker is None:
        return NONE
    return tracker if isinstance(tracker, str) else ",".join(tracker) or NONE
