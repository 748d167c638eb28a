"""Fixtures of every test: what pytest needs to find ``small`` beside the tests, and no real cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, program
from grouping import group_of


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give tests that share something to one process, whatever else is where."""
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Grouped(config, log)


def pytest_configure() -> None:
    """One thread of torch for each process of tests, and none that spins: tests share the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of ``--jobs`` that need not import torch again, for tests of what they give."""
    from beside import Beside

    monkeypatch.setattr("clbench.sweeps.workers.get_context", lambda method: Beside())


@pytest.fixture(autouse=True)
def no_real_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latents that a test encodes go into its own folder."""
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shared_cache(
    no_real_cache: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cache for all tests of a process that ask for it: glyphs are drawn once and not per test."""
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "shared-cache"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A headless Chromium with the network off."""
    path = program()
    if path is None:
        pytest.skip("no Chromium is installed")
    one = Chromium(path, tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plasticity probe of a few steps, for tests that do not look at its value."""
    from clbench.engine import diagnostics

    monkeypatch.setattr(diagnostics, "FIT_STEPS", 3)


@pytest.fixture(autouse=True)
def no_trackers_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test logs to wandb or MLflow stays in its own folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
