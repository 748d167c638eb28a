"""A library that is missing, one that is there but does not import, and one that is loud."""

from __future__ import annotations

import importlib.metadata
import sys
import warnings
from pathlib import Path

import pytest

from clbench.cli import main
from clbench.errors import UsageError
from clbench.interop import avalanche, importing


def package(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2")
    return tmp_path


class _Hides:
    """Says of Avalanche what Python says where it is not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "avalanche":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    "words",
    [["run", "scenario=scole", "strategy=avalanche:X"], ["list", "strategies", "avalanche:*"]],
)
def test_without_avalanche_a_line_says_how_to_get_it(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "avalanche"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Hides(), *sys.meta_path])
    avalanche.avalanche.cache_clear()
    try:
        assert main(words) == 2
    finally:
        avalanche.avalanche.cache_clear()
    _, error = capsys.readouterr()
    assert error == (
        "clbench: error: avalanche-lib is not installed: pip install 'clbench[avalanche]'\n"
    )


def test_a_broken_import_is_named_with_where_it_is(elsewhere: Path) -> None:
    package(elsewhere, "brittle", "from brittle import inner")
    (elsewhere / "brittle" / "inner.py").write_text("from string import nothing_of_the_kind")
    with pytest.raises(UsageError) as refused:
        importing.modules({"it": "brittle"}, "brittle", "brittle-lib", "get it")
    assert str(refused.value).startswith(
        "brittle-lib 1.2 does not import here: ImportError in brittle.inner: "
        "cannot import name 'nothing_of_the_kind' from 'string'"
    )


def test_a_missing_dependency_is_named(elsewhere: Path) -> None:
    package(elsewhere, "needy", "import absent_dependency")
    with pytest.raises(UsageError, match=r"ModuleNotFoundError in needy: .*absent_dependency"):
        importing.modules({"it": "needy"}, "needy", "needy-lib", "get it")


def test_a_loud_package_is_quiet_and_others_are_not(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
import warnings
def shout():
    print("loud")
    with_own = warnings.simplefilter("always", DeprecationWarning)
    warnings.warn("old", DeprecationWarning)
"""
    package(elsewhere, "loud", source)
    found = importing.modules({"it": "loud"}, "loud", "loud-lib", "get it")["it"]
    with importing.quiet("loud"):
        found.shout()
    assert capsys.readouterr() == ("", "")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with importing.quiet("loud"):
            warnings.warn("of another", UserWarning, stacklevel=1)
    assert [str(one.message) for one in told] == ["of another"]
