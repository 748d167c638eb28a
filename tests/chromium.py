"""A headless Chromium that tests drive: the DevTools protocol over two pipes, without another package.

The network is off, and whatever a page asks for is noted, so that a test can say that nothing was.
"""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""The programs that are looked for; ``.ci/run`` looks for the same."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-extensions",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
PATIENCE = 120.0
"""Seconds after which an answer is given up; a busy machine takes a few."""
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ROWS = """[...document.querySelectorAll("table.sorted tr[MARK], #table tr[MARK]")]
    .filter((row) => row.getClientRects().length)
    .map((row) => [...row.children].map((cell) => cell.innerText.trim()))"""
FAR = 40
"""File descriptors from here on are nobody's yet."""


def program() -> str | None:
    """The path of a Chromium, or None; on Windows its pipes are others."""
    if os.name == "nt":
        return None
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A browser with a page. What it asked for and what went wrong: ``asked`` and ``errors``."""

    def __init__(self, path: str, folder: Path) -> None:
        import fcntl  # which Windows lacks

        self.asked: list[str] = []
        self.errors: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._number, self._rest = 0, b""
        ours, theirs = os.pipe(), os.pipe()
        read = fcntl.fcntl(ours[0], fcntl.F_DUPFD, FAR)
        write = fcntl.fcntl(theirs[1], fcntl.F_DUPFD, FAR)
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, k) for k in (1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, read, 3), (os.POSIX_SPAWN_DUP2, write, 4)]
        words = [path, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        environment = {**os.environ, "HOME": str(folder)}
        self._pid = os.posix_spawn(path, words, environment, file_actions=actions, setpgroup=0)
        for one in (read, write, null, ours[0], theirs[1]):
            os.close(one)
        self._in, self._out = ours[1], theirs[0]
        self._session = ""
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        made = self._call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = made["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        away = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self._call("Network.emulateNetworkConditions", offline=True, **away)

    def open(self, page: Path, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a file from disk at a width in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self.switch(dark)
        self.asked.clear()
        self.errors.clear()
        self._events.clear()
        self._call("Page.navigate", url=page.resolve().as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self._events):
            self._note(self._receive())

    def switch(self, dark: bool) -> None:
        """Light or dark, as a reader's system says."""
        value = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[value])

    def get(self, script: str) -> Any:
        """What an expression of the page's language gives."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def rows(self, mark: str) -> list[list[str]]:
        """The cells of what is visible of the sorted table: its ``tr[mark]``, in their order."""
        found: list[list[str]] = self.get(ROWS.replace("MARK", mark))
        return found

    def press(self, key: str) -> str:
        """Press a column's button; the direction that its head then tells."""
        head = f"document.querySelector('thead th[data-key=\"{key}\"]')"
        self.get(f"{head}.querySelector('button').click()")
        return str(self.get(f"{head}.getAttribute('aria-sort')"))

    def find(self, words: str) -> None:
        """Type into the box that filters."""
        box = "document.forms.controls.elements.q"
        event = "new Event('input', {bubbles: true})"
        self.get(f"{box}.value = {json.dumps(words)}; {box}.dispatchEvent({event})")

    def fits(self) -> bool:
        """Whether the page is no wider than its window."""
        return bool(self.get(f"{TOO_WIDE} <= 0"))

    def quiet(self, page: Path) -> None:
        """The page was the one request, and nothing went wrong.

        Raises:
            AssertionError: it asked for more, or something was written to the console.
        """
        others = [one for one in self.asked if not one.startswith("data:")]
        assert others == [page.resolve().as_uri()]
        assert self.errors == []

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser and what it started."""
        os.close(self._in)
        os.close(self._out)
        for _ in range(100):
            if os.waitpid(self._pid, os.WNOHANG)[0]:
                return
            time.sleep(0.05)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._in, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], PATIENCE)
            assert ready, f"Chromium says nothing for {PATIENCE:.0f} s"
            part = os.read(self._out, 1 << 20)
            assert part, "Chromium ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("sessionId") != self._session or "method" not in event:
            return
        self._events.append(event)
        about = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and about["entry"]["level"] in (
            "error",
            "warning",
        ):
            self.errors.append(about["entry"]["text"])


def check_page(browser: Chromium, page: Path, width: int) -> None:
    """A page fits its window, with every part opened too; it asks for nothing.

    Raises:
        AssertionError: it does not.
    """
    browser.open(page, width)
    assert browser.get("innerWidth") == width
    assert browser.get("document.body.innerText.length") > 200
    assert browser.fits()
    browser.get("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.fits(), "with every part opened"
    browser.quiet(page)


def check_dark(browser: Chromium, page: Path) -> None:
    """A page is dark when the reader's system is, and its writing stands out from it in both.

    Raises:
        AssertionError: it does not.
    """
    browser.open(page, 1400)
    found = []
    for dark in (False, True):
        browser.switch(dark)
        image = Image.open(io.BytesIO(browser.picture())).convert("L")
        found.append(np.array(image, dtype=float))
    assert found[0].mean() > 200
    assert found[1].mean() < 80
    assert np.quantile(found[0], 0.001) < 110
    assert np.quantile(found[1], 0.999) > 170
    browser.quiet(page)
