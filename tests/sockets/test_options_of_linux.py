"""Every socket option of Linux, compared with the kernel of this machine: tools/socket_options.py as a test."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = runpy.run_path(str(ROOT / "tools" / "socket_options.py"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux")


@pytest.fixture(scope="module")
def told() -> dict[str, list[str]]:
    """What differs, by option."""
    found: dict[str, list[str]] = TOOL["verdicts"](TOOL["of_kernel"](), TOOL["of_estab"]())
    return found


def test_options_are_as_on_linux_or_their_difference_is_told(told: dict[str, list[str]]) -> None:
    assert {option: found[0] for option, found in told.items() if option not in TOOL["REASONS"]} == {}


def test_the_page_has_every_option_and_the_reason_of_every_difference(told: dict[str, list[str]]) -> None:
    page = TOOL["PAGE"].read_text(encoding="utf-8")
    for options in TOOL["OPTIONS"].values():
        for option in options:
            line = next(line for line in page.splitlines() if line.startswith(f"| `{option}` |"))
            assert option not in told or TOOL["REASONS"][option] in line, option


def test_a_difference_is_found_and_an_option_that_the_kernel_has_not_is_none() -> None:
    differences: Any = TOOL["differences"]
    assert differences({"default": "0", "set 1": "1"}, {"default": "0", "set 1": "EINVAL"}) == ["set 1"]
    unknown = {"default": "ENOPROTOOPT", "set 1": "ENOPROTOOPT"}
    assert differences(unknown, {"default": "0", "set 1": "1"}) == []
