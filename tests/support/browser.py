"""Headless Chromium, to open pages as users do."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

_CHROMIUM, _DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
_FLAGS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "force-device-scale-factor=1",
    "window-size=900,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium."""
    if not (_CHROMIUM and _DRIVER):
        pytest.skip("needs chromium and chromedriver on PATH")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = _CHROMIUM
    for flag in (*_FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(_DRIVER))
    yield driver
    driver.quit()


def assert_scrolls_in_one_direction(browser: Any, width: int) -> None:
    """Asserts that the open page fits a window of a width in pixels."""
    browser.set_window_size(width, 800)
    try:
        root = "document.documentElement"
        assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    finally:
        browser.set_window_size(900, 900)
