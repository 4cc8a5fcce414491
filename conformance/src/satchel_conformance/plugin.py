"""The pytest plugin: a URL fixture for each backend, and a summary that names what was not run."""

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from satchel_conformance.backends import STARTED, Backend, BackendMissing, log_of
from satchel_conformance.servers import SERVERS

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_EXCEPTION: Final = "satchel_exception"
_NOT_RUN: Final = pytest.StashKey[dict[str, str]]()  # why each missing backend was not run
_CONTAINERS: Final = pytest.StashKey[dict[str, list["DockerContainer"]]]()  # of each fixture
_LINES: Final = 50  # of a container's log


def url_fixture(backend: Backend) -> Callable[..., Any]:
    """Return a session fixture `<name>_url`; the tests that use it are skipped, and reported, without the backend."""
    name = f"{backend.name}_url"

    @pytest.fixture(scope="session", name=name)
    def url(pytestconfig: pytest.Config) -> Iterator[str]:
        why = ""
        with ExitStack() as stack:
            try:
                others = len(STARTED)
                server = stack.enter_context(backend.server())
                pytestconfig.stash[_CONTAINERS][name] = STARTED[others:]
                yield server
            except BackendMissing as missing:
                why = str(missing)
        if why and backend.required:
            pytest.fail(f"{backend.name} is required, but {why}", pytrace=False)
        if why:
            pytestconfig.stash[_NOT_RUN][backend.name] = why
            pytest.skip(f"{why} (or name a server in {backend.variable})")

    return url


globals().update({f"{backend.name}_url": url_fixture(backend) for backend in SERVERS})


def pytest_configure(config: pytest.Config) -> None:
    """Start with nothing missing."""
    config.stash[_NOT_RUN], config.stash[_CONTAINERS] = {}, {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what was not run to the controller of pytest-xdist, or write it down."""
    missing = session.config.stash[_NOT_RUN]
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["satchel_not_run"] = missing
    else:
        _write_not_run(missing)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a test that failed what its servers have logged: one that is gone cannot say it any more."""
    report = yield
    if report.failed:
        for name in getattr(item, "fixturenames", ()):
            for made in item.config.stash[_CONTAINERS].get(name, ()):
                report.sections.append((f"end of the log of {name}, {made.image}", log_of(made, _LINES)))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist did not run."""
    node.config.stash[_NOT_RUN].update(getattr(node, "workeroutput", {}).get("satchel_not_run", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say by name what was not run, and which clauses were allowed to fail, or to be tried again."""
    found = [report for outcome in ("xfailed", "passed") for report in terminalreporter.getreports(outcome)]
    reports = [report for report in found if isinstance(report, pytest.TestReport) and report.when == "call"]
    excepted = [
        (report.nodeid, text) for report in reports for name, text in report.user_properties if name == _EXCEPTION
    ]
    if excepted:
        terminalreporter.section("Satchel made these exceptions", yellow=True)
        for nodeid, text in excepted:
            terminalreporter.line(f"{nodeid.rpartition('::')[0]} {text}")
    if missing := config.stash[_NOT_RUN]:
        terminalreporter.section("Satchel did not run these backends", yellow=True)
        for name, why in sorted(missing.items()):
            terminalreporter.line(f"{name}: {why}")


def _write_not_run(missing: dict[str, str]) -> None:
    """Append a line of JSON for each missing backend that is not in the file yet: several sessions may share it."""
    if not missing or not (name := os.environ.get("SATCHEL_NOT_RUN_FILE")):
        return
    file = Path(name)
    known = {json.loads(line)["backend"] for line in file.read_text().splitlines()} if file.exists() else set()
    with file.open("a") as out:
        for backend, why in sorted(missing.items()):
            if backend not in known:
                out.write(json.dumps({"backend": backend, "why": why}) + "\n")
