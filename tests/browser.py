"""A real browser, Debian's Chromium, for pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium; .ci/run installs it")

WAIT_MS = 120_000
"""For whatever a page is waited for: on a busy machine five megabytes of it take half a minute to load."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Started without a window."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield found
        found.close()
