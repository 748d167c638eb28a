"""``clbench check tracker=mine.py``: what is wrong with a tracker is found and told."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import clbench as command

from clbench.checks import check
from clbench.plugins.registry import find

HEAD = '"""A tracker."""\nfrom clbench.tracker import Tracker\n\n\nclass Mine(Tracker):\n'
QUIET = "    def progress(self, progress):\n        pass\n"


def failed(tmp_path: Path, body: str) -> dict[str, str]:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + body)
    found = check(find("tracker", str(path)))
    return {f.check: f.message for f in found if not f.passed}


def test_a_good_tracker_passes(tmp_path: Path):
    assert failed(tmp_path, QUIET) == {}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    def progress(self, progress):\n        raise OSError('full')\n", "OSError: full"),
        (QUIET + "    def finish(self, record):\n        record['x']\n", "TypeError"),
        (
            QUIET + "    def start(self, run):\n        assert not run.is_resumed\n",
            "AssertionError",
        ),
        (QUIET + "    def start(self, run):\n        run.seed = 1\n", "FrozenInstanceError"),
    ],
)
def test_a_tracker_that_raises_fails(tmp_path: Path, body: str, told: str):
    found = failed(tmp_path, body)
    assert told in found["follows_a_run_to_its_end"]


@pytest.mark.slow
def test_a_tracker_that_changes_predictions_fails(tmp_path: Path):
    """Only by reaching into the engine, which no value that it is given leads to."""
    body = "    def progress(self, progress):\n"
    body += "        import gc\n        from clbench.strategy import Strategy\n"
    body += "        for found in gc.get_objects():\n"
    body += "            if Strategy in type(found).__mro__:\n"
    body += "                for p in found.parameters():\n                    p.data.zero_()\n"
    assert list(failed(tmp_path, body)) == ["changes_no_bit_of_a_result"]


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ran = command(capsys, "check", "tracker=csv")
    assert ran.code == 0
    assert ran.out.count("ok   csv: ") == 4
    ran = command(capsys, "check", "tracker=csv", "tracker.x=1")
    assert ran.code == 1
    assert "has no setting 'x'" in ran.out
