"""The results of the latent study: names, means, crossings, comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.study.latents import Latents
from benchmarks.study.metrics import Crossing, Measures, effective_replay_size
from benchmarks.study.plan import MLP, REPLAY, Key
from clbench.configure.sweep import without_folder
from clbench.results.tables import Interval, t_interval

RANDOM = "random:"
"""``encoder=random:x`` is the untrained ``encoder=x``."""


@dataclass(frozen=True)
class Result:
    """The results of all runs."""

    words: tuple[str, ...]
    found: dict[Key, dict[Key, dict[str, Measures]]]
    """Metrics by setting, head and seed."""
    latents: dict[Key, Latents]
    """Latents of each setting."""
    failed: tuple[str, ...]
    """Runs without results."""
    n_runs: int

    def mean(self, setting: Key, head: Key, name: str) -> Interval:
        """A metric over the seeds."""
        values = [getattr(measures, name) for measures in self.found[setting][head].values()]
        return t_interval([v for v in values if v is not None])

    def curve(self, setting: Key) -> list[tuple[int, float]]:
        """Mean A_CL of the MLP at each replay size, ascending."""
        points = []
        for head in self.found[setting]:
            size, mean = replay_of(head), self.mean(setting, head, "a_cl").mean
            if size is not None and mean is not None:
                points.append((size, mean))
        return sorted(points)

    def level(self, setting: Key, strategy: str) -> float | None:
        """Mean A_CL of a head without replay, under its first settings."""
        for head in self.found[setting]:
            if dict(head)["strategy"] == strategy:
                return self.mean(setting, head, "a_cl").mean
        return None

    def crossing(self, setting: Key, strategy: str) -> Crossing | None:
        """The replay size at which the MLP is as good as a head without replay."""
        level = self.level(setting, strategy)
        curve = [(size, accuracy) for size, accuracy in self.curve(setting) if size > 0]
        if level is None or not curve:
            return None
        return effective_replay_size([s for s, _ in curve], [a for _, a in curve], level)

    def replay_gain(self, setting: Key) -> float | None:
        """How much the MLP gains from its smallest replay memory to its largest."""
        curve = [accuracy for size, accuracy in self.curve(setting) if size > 0]
        return curve[-1] - curve[0] if len(curve) > 1 else None

    def iid(self, setting: Key) -> float | None:
        """A_iid of the MLP: how good the latents are for it."""
        for head in self.found[setting]:
            if replay_of(head) is not None:
                return self.mean(setting, head, "a_iid").mean
        return None

    def pretraining(self) -> list[tuple[Key, Key, Interval]]:
        """The gain in A_CL of a pretrained encoder over the same one untrained, paired by seed.

        The keys are the setting of the pretrained encoder, and the head.
        """
        gains = []
        for setting, heads in self.found.items():
            words = dict(setting)
            untrained = tuple({**words, "encoder": RANDOM + words["encoder"]}.items())
            for head, runs in heads.items():
                others = self.found.get(untrained, {}).get(head, {})
                pairs = [(runs[s].a_cl, others[s].a_cl) for s in runs if s in others]
                differences = [a - b for a, b in pairs if a is not None and b is not None]
                if differences:
                    gains.append((setting, head, t_interval(differences)))
        return gains


def replay_of(head: Key) -> int | None:
    """Samples per class that the MLP replays; None for other heads."""
    words = dict(head)
    return int(words[REPLAY]) if words["strategy"] == MLP else None


def names_of(keys: Iterable[Key]) -> dict[Key, str]:
    """Name settings or heads by their options and the settings in which they differ."""
    keys = list(keys)
    names = {}
    for key in keys:
        size = replay_of(key) if "strategy" in dict(key) else None
        shown = [tuple(without_folder("=".join(word)).split("=", 1)) for word in key]
        parts = [value for name, value in shown if name in ("data", "encoder", "strategy")]
        if size is not None:
            parts = ["naive MLP" if size == 0 else f"MLP, replay {size}"]
        parts += [
            f"{name.partition('.')[2] or name}={value}"
            for name, value in shown
            if name not in ("data", "encoder", "strategy", REPLAY) and _varies(name, key, keys)
        ]
        names[key] = ", ".join(parts)
    return names


def parts_of(setting: Key) -> tuple[Key, Key]:
    """A setting's words of the data, and those of the encoder."""
    encoder = tuple(word for word in setting if word[0].partition(".")[0] == "encoder")
    return tuple(word for word in setting if word not in encoder), encoder


def _varies(name: str, key: Key, keys: list[Key]) -> bool:
    """Tell whether a setting has several values among keys of the same strategy, data or encoder."""
    owner = name.partition(".")[0]
    others = [dict(other) for other in keys]
    if owner != name:
        others = [other for other in others if other.get(owner) == dict(key).get(owner)]
    return len({other.get(name) for other in others}) > 1
