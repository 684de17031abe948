"""What holds for all tests: which core they run on, how many random cases, and that nothing skips in CI.

``ESTAB_CORE`` says which core the run is about: ``interpreted``, ``compiled`` or ``installed`` (what the build gave:
compiled in CI). ``ESTAB_CI=1`` raises the number of random cases and turns a skipped test into a failed one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

import estab
from estab import Network
from estab._build import core_kind, core_note
from tests.kit.namespaces import Namespace
from tests.kit.tun import TunNamespace

IS_CI = os.environ.get("ESTAB_CI", "") not in ("", "0")
CORE = os.environ.get("ESTAB_CORE", "")

# A property that fails prints the call that replays it (@reproduce_failure). A time limit per case would only measure
# the machine.
_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _COMMON, max_examples=60)
settings.register_profile("ci", _COMMON, max_examples=400, derandomize=True)
settings.load_profile(os.environ.get("ESTAB_HYPOTHESIS", "ci" if IS_CI else "quick"))


# A shell has what it starts in the background ignore SIGINT, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say which estab is under test."""
    return f"estab {estab.__version__} from {Path(estab.__file__).parent}, core {core_kind()}"


def pytest_sessionstart() -> None:
    """Refuse to run on another core than the one that was asked for."""
    wanted = "compiled" if CORE == "installed" and IS_CI else CORE
    if wanted in ("compiled", "interpreted") and core_kind() != wanted:
        pytest.exit(f"these tests were to run on a core that is {wanted}, but it is {core_kind()}: {core_note()}", 3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing may skip: a tool that a test needs and does not find is CI's own fault."""
    report = yield
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"in CI no test may skip. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips."""
    report = yield
    if IS_CI and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"in CI no file of tests may skip. {reason}"
    return report


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority for certificates, which nobody trusts but by a test's own word."""
    return trustme.CA()


@pytest.fixture
def net() -> Iterator[Network]:
    """A virtual network with nothing in it. A folder or a file whose tests share hosts puts them on it."""
    with Network(seed=5) as network:
        yield network


@pytest.fixture
def netns() -> Iterator[TunNamespace]:
    """A network namespace with a TUN device, the kernel's addresses on it; ``netns.stack()`` puts a stack on it."""
    with TunNamespace() as made:
        yield made


@pytest.fixture
def bare() -> Iterator[Namespace]:
    """A network namespace in which nothing is but its loopback."""
    with Namespace() as made:
        yield made
