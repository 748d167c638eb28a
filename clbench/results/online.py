"""Online accuracy: metrics and curves of predictions that were made before learning.

Everything follows from the counts of a record (its field ``online``), which ``prequential=true`` adds.
Online accuracy by task is what Dohare et al. 2024 (Nature 632:768) and UPGD (Elsayed & Mahmood 2024,
arXiv 2404.00781) draw of plasticity.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clbench.metric import UNDEFINED, Counts, Online, Value
from clbench.util.lazy_numpy import np

if TYPE_CHECKING:
    import pandas as pd

    from clbench.results.record import Record


def online_accuracy(counts: Counts) -> Value:
    """Share of all samples that were answered right before they were learnt; terms: samples."""
    found = counts.online
    return UNDEFINED if found is None else _share(found.correct, found.size)


def online_window_accuracy(counts: Counts) -> Value:
    """Online accuracy over the last experiences, as many as the window has; terms: samples."""
    found = counts.online
    if found is None:
        return UNDEFINED
    return _share(found.correct[-found.window :], found.size[-found.window :])


def next_window_accuracy(counts: Counts) -> Value:
    """Share answered right ``prequential_ahead`` experiences before they came; terms: samples."""
    found = counts.online
    if found is None or found.distance == 0:
        return UNDEFINED
    return _share(found.ahead, found.size[found.distance :])


def blind_accuracy(counts: Counts) -> Value:
    """Online accuracy of repeating the last label that is known; terms: samples."""
    found = counts.online
    return UNDEFINED if found is None else _share(found.blind, found.size)


def _share(correct: np.ndarray, size: np.ndarray) -> Value:
    n = int(size.sum())
    return Value(int(correct.sum()) / n, n) if n else UNDEFINED


def arrays(data: Mapping[str, Any]) -> Online:
    """The counts of a record's field ``online``."""
    ahead = data["ahead"] or {"distance": 0, "correct": []}
    names = ("size", "correct", "blind")
    return Online(
        **{name: np.array(data[name], dtype=np.int64) for name in names},
        ahead=np.array(ahead["correct"], dtype=np.int64),
        distance=int(ahead["distance"]),
        window=int(data["window"]),
    )


def sliding(correct: np.ndarray, size: np.ndarray, window: int) -> np.ndarray:
    """``(E,)``: accuracy over the last ``window`` experiences; fewer at the start, NaN of nothing.

    Args:
        correct: ``(E,)`` int.
        size: ``(E,)`` int.
        window: at least 1.
    """
    parts = []
    for of in (correct, size):
        total = np.r_[0, np.cumsum(of)]
        at = np.arange(1, len(total))
        parts.append(total[at] - total[np.maximum(at - window, 0)])
    return _divide(*parts)


def by_task(correct: np.ndarray, size: np.ndarray, task_end: np.ndarray) -> np.ndarray:
    """``(T,)``: online accuracy of the experiences of each ended task; NaN of one without samples."""
    parts = [np.diff(np.r_[0, np.cumsum(of)][np.r_[0, task_end]]) for of in (correct, size)]
    return _divide(*parts)


def _divide(correct: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.where(size > 0, correct / np.maximum(size, 1), np.nan)


def frame(record: Record) -> pd.DataFrame:
    """One row per experience: counts, and accuracy in the sliding window."""
    import pandas as pd

    found = record.to_counts().online
    if found is None:
        return pd.DataFrame()
    columns = {
        "experience": np.arange(len(found.size)),
        "size": found.size,
        "correct": found.correct,
        "blind": found.blind,
        "window_accuracy": sliding(found.correct, found.size, found.window),
        "blind_window_accuracy": sliding(found.blind, found.size, found.window),
    }
    if found.distance:
        ahead = np.full(len(found.size), np.nan)
        ahead[found.distance :] = found.ahead
        columns["ahead"] = ahead
    return pd.DataFrame(columns)


def n_learnt(record: Record) -> int:
    """Experiences that a strategy was given to learn from."""
    clock = (record.online or {}).get("realtime")
    came: int = max(0, record.stream["experiences"] - _delay(record.config))
    return came - (len(clock["missed"]) if clock else 0)


def samples_learnt(
    online: Mapping[str, Any], config: Mapping[str, Any], stream: Mapping[str, Any]
) -> int:
    """Labelled samples of the experiences that a strategy was given to learn from."""
    missed = set((online["realtime"] or {"missed": []})["missed"])
    came = online["size"][: max(0, stream["experiences"] - _delay(config))]
    return sum(size for t, size in enumerate(came) if t not in missed)


def faults(
    online: Mapping[str, Any], config: Mapping[str, Any], stream: Mapping[str, Any]
) -> list[str]:
    """What is wrong with counts that are of the right form.

    Args:
        online: as a record has them.
        config: the record's settings.
        stream: the record's field of that name.
    """
    return [*_counts(online, stream), *_settings(online, config), *_missed(online, config, stream)]


def _counts(online: Mapping[str, Any], stream: Mapping[str, Any]) -> Iterator[str]:
    size, n = online["size"], stream["experiences"]
    for name in ("size", "correct", "blind"):
        if len(online[name]) != n:
            yield f"online.{name} must have a number for each of stream.experiences"
            return
        if not _within(online[name], size):
            yield f"online.{name} is outside 0..size"
    if online["classes"] is not None:
        if any(len(of) != stream["n_classes"] for of in online["classes"].values()):
            yield "online.classes must have a number for each of stream.n_classes"
        elif not _within(online["classes"]["correct"], online["classes"]["size"]):
            yield "online.classes.correct is outside 0..size"
        for name, of in online["classes"].items():
            if sum(of) != sum(online[name]):
                yield f"online.classes.{name} does not add up to online.{name}"
    if online["ahead"] is not None:
        distance, right = online["ahead"]["distance"], online["ahead"]["correct"]
        if len(right) != max(0, n - distance):
            yield "online.ahead.correct must have a number for each experience from its distance on"
        elif not _within(right, size[distance:]):
            yield "online.ahead.correct is outside 0..size"


def _within(correct: Sequence[int], size: Sequence[int]) -> bool:
    return all(0 <= a <= b for a, b in zip(correct, size, strict=False))


def _settings(online: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """The counts are those that the settings ask for."""
    distance = (online["ahead"] or {"distance": 0})["distance"]
    said = {
        "prequential": True,
        "prequential_window": online["window"],
        "prequential_ahead": distance,
    }
    for name, value in said.items():
        if config.get(name) != value:
            yield f"online is not that of config.{name}={str(config.get(name))[:20]}"
    if (online["realtime"] is None) != (config.get("realtime") is None):
        yield "online.realtime is not that of config.realtime"


def _missed(
    online: Mapping[str, Any], config: Mapping[str, Any], stream: Mapping[str, Any]
) -> Iterator[str]:
    """Missed experiences are some whose labels came, each once; the first is never missed."""
    clock = online["realtime"]
    if clock is None:
        return
    missed, came = clock["missed"], stream["experiences"] - _delay(config)
    if any(a >= b for a, b in itertools.pairwise(missed)):
        yield "online.realtime.missed must be in ascending order"
    elif missed and not 1 <= missed[0] <= missed[-1] < came:
        yield "online.realtime.missed has an experience whose labels never came, or the first"


def _delay(config: Mapping[str, Any]) -> int:
    delay: Any = config.get("label_delay", 0)
    return int(delay) if type(delay) is int else 0
