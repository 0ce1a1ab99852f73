"""A real browser for tests: Debian's chromium without a window, spoken to over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Visit:
    """What happened while a page was opened: what its console complained of, and the addresses it asked for."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@dataclass
class Browser:
    """One tab."""

    socket: websocket.WebSocket
    count: int = 0
    visit: Visit = field(default_factory=Visit)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; what happens meanwhile is kept in `visit`."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == self.count:
                assert "error" not in said, said
                return said["result"]
            self._hear(said)

    def _hear(self, said: dict[str, Any]) -> None:
        what = said.get("params", {})
        if said["method"] == "Network.requestWillBeSent":
            self.visit.requests.append(what["request"]["url"])
        elif said["method"] == "Runtime.exceptionThrown":
            self.visit.complaints.append(str(what["exceptionDetails"]))
        elif said["method"] == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.visit.complaints.append(str(what["args"]))
        elif said["method"] == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.visit.complaints.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")

    def resize(self, width: int, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, page: Path, width: int = 1366, height: int = 900, dark: bool = False) -> Visit:
        """Opens a file in a window of this size and waits until all of it is loaded."""
        self.visit = Visit()
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + 60
        while self.value("document.readyState + location.href") != f"complete{page.as_uri()}":
            assert time.monotonic() < deadline, f"{page} does not load"
            time.sleep(0.02)
        return self.visit

    def value(self, expression: str) -> Any:
        """What JavaScript says."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path, whole: bool = False) -> None:
        """A screenshot, PNG, of the window or of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser that keeps all it writes in a folder, and is gone afterwards."""
    assert CHROMIUM
    command = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told, deadline = folder / "DevToolsActivePort", time.monotonic() + 60
        while not told.exists() or "\n" not in told.read_text():
            assert process.poll() is None and time.monotonic() < deadline, "the browser does not start"
            time.sleep(0.05)
        port = told.read_text().splitlines()[0]
        tabs = json.load(urlopen(f"http://127.0.0.1:{port}/json"))
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        browser = Browser(socket)
        for domain in ("Page", "Network", "Runtime", "Log"):
            browser.call(f"{domain}.enable")
        yield browser
        socket.close()
    finally:
        process.terminate()
        process.wait()
