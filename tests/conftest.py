"""Fixtures that every tier may use. Keep it short: a fixture of one tier lives with that tier."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests import excuses, gvisor
from tests.closing import pytest_unconfigure  # noqa: F401  # it is a hook
from tests.conformance.recording import pytest_configure  # noqa: F401  # it is a hook
from tests.support import stop_daemon

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On a build machine a skip without a good excuse is a failure."""
    report = yield
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        is_root = os.geteuid() == 0
        if excuses.is_build_machine() and not excuses.is_excused(reason, is_root=is_root):
            report.outcome = "failed"
            report.longrepr = f"{reason}: no excuse on a build machine (tests/excuses.py)"
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """The tests see no setting of the person who runs them."""
    for name in [name for name in os.environ if name.startswith("VOLANT_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> None:
    """A shell starts what it runs in the background deaf to Ctrl-C, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def volant_home(
    tmp_path_factory: pytest.TempPathFactory, _no_settings_from_outside: None
) -> Iterator[Path]:
    """A private VOLANT_HOME for this run, also in `os.environ`; its daemon ends with it."""
    home = tmp_path_factory.mktemp("home", numbered=False)
    home.chmod(0o700)
    # Several runs on one machine each have a port of their own, and none says so.
    (home / "config.toml").write_text("gateway_port = 0\n")
    os.environ["VOLANT_HOME"] = str(home)
    # Also for the daemons of other homes: gVisor is in PATH for the tests that are about it.
    os.environ["VOLANT_SANDBOX_RUNTIME"] = gvisor.default_runtime()
    os.environ["PATH"] = f"{gvisor.PROGRAMS}:{os.environ['PATH']}"
    try:
        yield home
    finally:
        del os.environ["VOLANT_HOME"], os.environ["VOLANT_SANDBOX_RUNTIME"]
        stop_daemon(home)


@pytest.fixture(scope="session")
def runsc(volant_home: Path) -> str:
    """The path of gVisor's program, which the daemon of this run finds as well."""
    assert volant_home.is_dir()
    try:
        return gvisor.find()
    except gvisor.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this run."""
    from tests import postgres as postgres_module  # its client is not installed everywhere

    try:
        server = postgres_module.PostgresServer(postgres_module.find())
    except postgres_module.UnavailableError as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.close()
