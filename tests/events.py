"""Reading back what TensorBoard was given."""

from __future__ import annotations

from pathlib import Path


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """The steps and values of one scalar below a folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(e.step, e.value) for e in events.Scalars(name)]
