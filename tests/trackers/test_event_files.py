"""Event files are those that TensorBoard reads: times, steps, names and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clbench.trackers._events import Event, EventFile, _checksum

NAMES = ("world_accuracy", "accuracy/Größe", "diagnostics/" + "x" * 300)


def read(path: Path) -> list[tuple[float, int, list[str], list[float]]]:
    """Read with tensorboard's own reader, which checks every checksum."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event as Message

    found = [Message.FromString(raw) for raw in RawEventFileLoader(str(path)).Load()]
    assert found[0].file_version == "brain.Event:2"
    return [
        (
            e.wall_time,
            e.step,
            [v.tag for v in e.summary.value],
            [v.simple_value for v in e.summary.value],
        )
        for e in found[1:]
    ]


def test_the_checksum_is_crc_32c():
    """The check value of the digits 1 to 9 (RFC 3720, appendix B.4, has others), masked."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    row = np.frombuffer(b"123456789", np.uint8)[None]
    assert _checksum(row).tobytes() == masked.to_bytes(4, "little")


def test_what_is_read_is_what_was_written(tmp_path: Path):
    events = []
    for at in range(70):
        some = NAMES[: 1 + at // 7 % 3]
        values = tuple(at / (3 + k) for k in range(len(some)))
        events.append(Event(1.5e9 + at / 7, at**5, some, values))
    file = EventFile(tmp_path)
    file.write(events[:41])
    file.write(events[41:])
    found = read(file.path)
    assert len(found) == len(events)
    for (time, step, names, values), event in zip(found, events, strict=True):
        assert (time, step, names) == (event.time, event.step, [*event.names])
        assert values == [float(np.float32(v)) for v in event.values]


@pytest.mark.parametrize("step", [0, 127, 128, 2**35 - 1])
def test_steps_of_every_size(tmp_path: Path, step: int):
    file = EventFile(tmp_path)
    file.write([Event(0.0, step, ("a",), (1.0,))])
    assert read(file.path)[0][1] == step


def test_no_file_is_written_twice(tmp_path: Path):
    assert EventFile(tmp_path).path != EventFile(tmp_path, purge_step=5).path
