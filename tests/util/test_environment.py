"""What is said of the machine that a run is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from clbench.util import environment
from clbench.util.environment import processor

X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: A\n\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (X86 + X86.replace("143", "85"), "GenuineIntel 6 143"),
        (ARM, "0x41 8 0xd0c"),
        ("uarch : sifive,u74\n", None),
        ("", None),
    ],
)
def test_a_processor_is_named_by_maker_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str | None
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    monkeypatch.setattr(environment, "CPUINFO", file)
    assert processor() == said


def test_elsewhere_python_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "none")
    for said, shown in (("Intel64 Family 6", "Intel64 Family 6"), ("", None)):
        monkeypatch.setattr(environment.platform, "processor", lambda said=said: said)
        assert processor() == shown
