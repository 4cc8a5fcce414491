"""What all tests share."""

import os
from collections.abc import Iterable

import pytest
from hypothesis import settings
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# The same examples each time, however long a busy machine takes for one.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests are coroutines of asyncio, the only event loop that the drivers know."""
    return "asyncio"


class ByServer(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the tests to workers so that few servers are started: each worker starts those that its tests ask for.

    Of many packages, one worker gets all tests of one. Of one package, the tests of a file stay together, but for the
    clauses of the suite, which are spread. (Marks of the group, which pytest-xdist has for this, it cannot see any more
    since pytest 9.2: it writes them into an item's `_nodeid`.)
    """

    def schedule(self) -> None:
        """See what there is to distribute, and do it."""
        self._several = len({_member(nodeid) for nodeid in self._collected()}) > 1
        super().schedule()

    def _collected(self) -> Iterable[str]:
        return next(iter(self.registered_collections.values()))

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if self._several and (member := _member(nodeid)).startswith(("packages/", "examples/")):
            return member
        return nodeid if file.endswith("test_conformance.py") else file


def _member(nodeid: str) -> str:
    """Return the folder of the package that a test is of."""
    return "/".join(nodeid.split("/")[:2])


class FailuresAtOnce:
    """Says what failed, and why, when it fails: who ends a run before its end gets no summary."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a line for a report of a failure, below the dots."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = next(iter(str(crash.message if crash else report.longrepr).splitlines()), "")
            self._reporter.ensure_newline()
            self._reporter.write(f"\n{report.when} of {report.nodeid} failed: {why}\n")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Say what fails at once, where tests are run or distributed to workers."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(reporter, pytest.TerminalReporter) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(reporter))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServer:
    """Let pytest-xdist distribute tests as they suit this project."""
    return ByServer(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are processors, for the times when others wait for a server."""
    return (os.cpu_count() or 1) + 1
