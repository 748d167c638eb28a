"""Processes that start quickly: copies of one that has imported the engine, and nothing else.

Where it is tested that a new interpreter does something, a test starts one itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from clbench.util.processes import fresh_context


class Beside:
    """In place of ``multiprocessing.get_context("spawn")``."""

    def __init__(self) -> None:
        self.context = fresh_context()

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:
        return self.context.Pipe(duplex)

    def Process(
        self, *, target: Callable[..., None], args: tuple[Any, ...], daemon: bool = False
    ) -> BaseProcess:
        given = (dict(os.environ), target, args)
        return self.context.Process(target=_in_environment, args=given, daemon=daemon)


def start(work: Callable[..., None], *given: object) -> BaseProcess:
    """Start a function of a module in a process of its own."""
    process = Beside().Process(target=work, args=given)
    process.start()
    return process


def pool(n: int) -> ProcessPoolExecutor:
    """So many processes."""
    environment = dict(os.environ)
    return ProcessPoolExecutor(n, fresh_context(), _take_over, (environment,))


def _take_over(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _in_environment(
    environment: dict[str, str], work: Callable[..., None], given: tuple[Any, ...]
) -> None:
    _take_over(environment)
    work(*given)
