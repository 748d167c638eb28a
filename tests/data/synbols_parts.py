"""A small generator that several tests share: ten digits in a few fonts."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest
import torch

from clbench.data.synbols.generator import Generator, Sources
from clbench.data.synbols.spec import PRESETS, Spec

CPU = torch.device("cpu")
FONTS = "DejaVu Sans*"


def few(spec: Spec, alphabets: tuple[str, ...] = ("digits",)) -> Spec:
    return dataclasses.replace(spec, alphabets=alphabets, favourite="", favourite_share=0.0)


@cache
def fonts_folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def generator(spec: Spec | str = "default", seed: int = 0, fonts: str = FONTS) -> Generator:
    spec = few(PRESETS[spec]) if isinstance(spec, str) else spec
    return Generator(spec, Sources(fonts, fonts_folder()), seed, CPU)


@pytest.fixture(autouse=True)
def shared_cache(
    no_real_cache: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Atlases and banks are drawn once for all tests of a process."""
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "synbols"))
