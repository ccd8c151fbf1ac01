"""A browser without a window, which tests of the results page look through."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from programs import program
from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium, driven by the driver that is installed: nothing is downloaded."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1366,768"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        driver = webdriver.Chrome(options=options, service=Service(program("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def requested(driver: webdriver.Chrome) -> list[str]:
    """Addresses that pages asked for since this was last called."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def scheme(address: str) -> str:
    """`file` of `file:///...`."""
    return urlsplit(address).scheme
