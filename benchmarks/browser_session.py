"""A real Chromium and the page's process, for measurements, screenshots and tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, StorageState, sync_playwright

from benchmarks.client import ROOT, Broken

BROWSERS = ("chromium", "chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 30.0
Colours = Literal["light", "dark"]
Known = StorageState
"""The cookie that a browser logs in with."""

_PAINTED = """
() => new Promise(tell => new PerformanceObserver((entries, self) => {
  const seen = entries.getEntriesByName("first-contentful-paint");
  if (!seen.length) return;
  self.disconnect();
  tell([seen[0].startTime, performance.getEntriesByType("navigation")[0].loadEventEnd]);
}).observe({type: "paint", buffered: true}))
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A page process: a login address for one browser, and the page's address."""

    address: str
    process: subprocess.Popen[str]
    environment: Mapping[str, str]

    @property
    def root(self) -> str:
        place = urlsplit(self.address)
        return f"{place.scheme}://{place.netloc}"

    def another(self) -> str:
        """Return a login address for one more browser."""
        process = started(self.environment)
        try:
            return address(process)
        finally:
            process.communicate(timeout=PATIENCE)


@contextmanager
def browser(*flags: str) -> Generator[Browser]:
    """Start the machine's Chromium without a window."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise Broken("Chromium was not found. Install it with `make browser`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def served(env: Mapping[str, str], *words: str) -> Generator[Served]:
    """Run `kartra-mcp page` in the foreground, and end it as Ctrl-C does."""
    process = started(env, *words)
    try:
        yield Served(address(process), process, env)
    finally:
        ended(process)


def started(env: Mapping[str, str], *words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "kartra_mcp", "page", "--no-browser", "--json", *words]
    return subprocess.Popen(
        line, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


def address(process: subprocess.Popen[str]) -> str:
    """Return the address that it prints once it serves."""
    assert process.stdout is not None
    told = process.stdout.readline()
    if not told:
        raise Broken("the page was not served")
    return json.loads(told)["address"]


def ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def let_in(browser: Browser, served: Served) -> Known:
    """Log one browser in; the others reuse its cookie."""
    context = browser.new_context()
    context.new_page().goto(served.address)
    known = context.storage_state()
    context.close()
    return known


def painted(page: Page) -> tuple[float, float]:
    """Return the seconds until the first paint and until the load is complete."""
    found = page.evaluate(_PAINTED)  # `wait_for_function` would need what the page's policy forbids
    return found[0] / 1_000, found[1] / 1_000
