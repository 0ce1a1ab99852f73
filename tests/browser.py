"""A real browser for tests: Debian's chromium, headless, driven over its DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One tab. Since a page was opened: `complaints`, its console's errors and warnings, and `requests`, the URLs."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.socket, self.count = socket, 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return a command's result; note the events that arrive meanwhile."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.count:
                assert "error" not in message, message
                return message["result"]
            event = message.get("params", {})
            level = event.get("entry", {}).get("level") or event.get("type")
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(event["request"]["url"])
            elif message["method"] == "Runtime.exceptionThrown" or level in ("error", "warning", "assert"):
                self.complaints.append(str(event))

    def resize(self, width: int, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, page: Path, dark: bool = False, query: str = "") -> None:
        """Open a file and wait until all of it is loaded."""
        self.complaints, self.requests = [], []
        self.resize(1366)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.call("Page.navigate", url=page.as_uri() + query)
        self.wait(f"document.readyState + location.href === 'complete{page.as_uri()}{query}'")

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + 60
        while not self.value(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start a browser that writes only into a folder, and end it."""
    assert CHROMIUM
    options = "headless=new no-sandbox disable-gpu disable-dev-shm-usage disable-background-networking no-first-run"
    options += f" hide-scrollbars remote-debugging-port=0 user-data-dir={folder}"
    command = [CHROMIUM, *(f"--{option}" for option in options.split()), "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file, deadline = folder / "DevToolsActivePort", time.monotonic() + 60
        while not port_file.exists() or "\n" not in port_file.read_text():
            assert process.poll() is None and time.monotonic() < deadline, "the browser does not start"
            time.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        tabs = json.load(urlopen(f"http://127.0.0.1:{port}/json"))
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with closing(websocket.create_connection(address, timeout=60, suppress_origin=True)) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait()
