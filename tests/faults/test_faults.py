"""Kills, full disks and flipped bits, in small; ``python -m tests.faults`` runs the long form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import flips, forked, kills

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def test_killed_runs_are_resumed_to_the_same_bits(tmp_path: Path):
    forked.warm_up()
    tally = kills.single_runs(50, tmp_path)
    assert tally.faults == []
    assert sum(tally.kills.values()) >= 50
    assert {"rename", "SIGKILL", "SIGTERM"} <= tally.kills.keys()


def test_killed_sweeps_leave_no_orphans_and_are_resumed(tmp_path: Path):
    tally = kills.sweeps(4, tmp_path)
    assert tally.faults == []
    assert sum(tally.kills.values()) >= 4


@pytest.mark.parametrize("limit", [20_000, 100_000])
def test_a_full_disk_interrupts_and_the_run_is_resumed(tmp_path: Path, limit: int):
    """``joint`` stores all samples, so its checkpoint passes any limit sooner or later."""
    forked.warm_up()
    words = ["run", *kills.STREAMS["recurring"], "strategy=joint", *kills.ALWAYS, "tracker=none"]
    log, out, alone = tmp_path / "log", tmp_path / "out", tmp_path / "alone"
    limited = forked.small_disk(limit)
    assert forked.wait(forked.start([*words, "--out", str(out)], log, limited)) == 1
    said = log.read_text().strip().splitlines()
    assert len(said) == 1
    assert "checkpoint: cannot be written (" in said[0]
    assert "--resume" in said[0]
    assert not list(out.rglob("*.part"))
    assert forked.wait(forked.start([*words, "--out", str(out)], log)) == 0
    assert forked.wait(forked.start([*words, "--out", str(alone)], log)) == 0
    assert forked.bits(out) == forked.bits(alone)


def test_no_flipped_bit_of_a_checkpoint_goes_unnoticed(tmp_path: Path):
    path, read = flips.checkpoint_file(tmp_path)
    assert flips.unnoticed(path, 200, read) == []


def test_no_flipped_bit_of_a_record_goes_unnoticed(tmp_path: Path):
    for what, (path, read) in flips.record_files(tmp_path).items():
        assert flips.unnoticed(path, 200, read) == [], what


def test_no_flipped_bit_of_a_cache_goes_unnoticed(tmp_path: Path):
    for what, (path, read) in flips.cache_files(tmp_path).items():
        assert flips.unnoticed(path, 100, read) == [], what


def test_no_flipped_bit_of_a_released_fisher_goes_unnoticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, read = flips.fisher_file(tmp_path)
    assert flips.unnoticed(path, 100, read) == []
