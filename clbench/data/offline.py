"""Keeps other libraries from downloading what nobody asked for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Offline(OSError):
    """A library wanted to download something."""


@contextmanager
def offline(download: bool = False) -> Iterator[None]:
    """Let no address be looked up in this thread, unless ``download``; other threads go on as before.

    Raises:
        Offline: out of the library's call, where it does not handle errors of the network.
    """
    original, mine = socket.getaddrinfo, threading.get_ident()

    def look_up(*given: Any, **named: Any) -> Any:
        if not download and threading.get_ident() == mine:
            raise Offline("it would have to be downloaded")
        return original(*given, **named)

    socket.getaddrinfo = look_up
    try:
        yield
    finally:
        socket.getaddrinfo = original
