"""No path that leaves a folder gets into a record, and none that a stranger wrote is read."""

from __future__ import annotations

import pytest

from clbench.engine.assemble import _without_folders
from clbench.results.record_schema import _PLACE

PATHS = {
    "could not read /home/somebody/x.bin": "could not read x.bin",
    "no '//server/share/x.bin' here": "no 'x.bin' here",
    "no ../x.bin": "no x.bin",
    "no '../../data/x.bin'": "no 'x.bin'",
    "no data/../x.bin": "no data/x.bin",
    "no ~/data/x.bin": "no x.bin",
    "no ~ann/x.bin": "no x.bin",
    r"no C:\data\x.bin": "no x.bin",
}
OTHER_TEXTS = (
    "see https://clbench.org/docs",
    "and/or",
    "7 // 2",
    "1 ... 2",
    "docs/trust.md",
    "a..b",
)


@pytest.mark.parametrize("text", PATHS)
def test_a_path_is_cut_to_its_name(text: str) -> None:
    assert _PLACE.search(text)
    assert _without_folders(text) == PATHS[text]
    assert not _PLACE.search(PATHS[text])


@pytest.mark.parametrize("text", OTHER_TEXTS)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert not _PLACE.search(text)
    assert _without_folders(text) == text
