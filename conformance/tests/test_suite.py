"""The base class for pytest: what it collects, how a failure reads, and how clauses are left out."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from satchel import Capabilities, MemoryStorage
from satchel_conformance import StorageConformance, all_clauses
from satchel_conformance.backends import Backend, free_ports, prepared, run_in, running
from satchel_conformance.plugin import url_fixture
from satchel_conformance.servers.redis import REDIS_READY

pytest_plugins = ["pytester"]

# Here, since pytester forgets what is imported inside of its runs; of what docker needs, only a part.
all_clauses()
import_module("docker")

_HEAD = """
import pytest
from satchel import Capabilities, MemoryStorage
from satchel_conformance import StorageConformance

class Lower(MemoryStorage):
    capabilities = MemoryStorage.capabilities
    def _name(self, key):
        return super()._name(key.lower() if isinstance(key, str) else key)

class Base(StorageConformance):
    capabilities = MemoryStorage.capabilities
    shared = False

    @pytest.fixture
    def storage_factory(self):
        return Lower
"""


def _run(pytester: pytest.Pytester, test: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(_HEAD + test)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def test_each_clause_is_a_test_called_by_its_id(pytester: pytest.Pytester) -> None:
    result = _run(pytester, "class TestIt(Base): pass", "--collect-only", "-q", "-k", "TestIt and R4-injective-case")

    result.stdout.fnmatch_lines(["*::TestIt::test_clause[[]R4-injective-case[]]"])


def test_a_rule_can_be_chosen_with_k(pytester: pytest.Pytester) -> None:
    result = _run(pytester, "class TestIt(Base): pass", "-k", "TestIt and R1-absent")

    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])


def test_what_is_not_declared_is_not_collected(pytester: pytest.Pytester) -> None:
    test = """
class TestIt(Base):
    capabilities = Capabilities()
"""
    result = _run(pytester, test, "--collect-only", "-q", "-k", "TestIt")

    collected = result.stdout.str()
    assert "[R1-absent-is-none]" in collected
    assert "[R0-ttl-undeclared]" in collected
    assert not [part for part in ("R7-", "R0-batch", "R0-listing", "[R6-") if part in collected]


def test_a_failure_says_what_was_expected_and_what_happened(pytester: pytest.Pytester) -> None:
    result = _run(pytester, "class TestIt(Base): pass", "-k", "TestIt and R4-injective-case")

    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(
        [
            "R4-injective-case: Keys that differ only in case are different records, in any script.",
            "  expected  read of 'chat', after writing all of *, gives 0",
            "  happened  2",
            "  rule      R4 Keys. *",
            "  clause    satchel_conformance/clauses/keys.py:*",
            "  again     pytest -k R4-injective-case *",
        ]
    )


def test_an_exception_is_reported_with_its_reason(pytester: pytest.Pytester) -> None:
    test = """
class TestIt(Base):
    exceptions = {"R4-injective-case": "the backend folds case"}
"""
    result = _run(pytester, test, "-k", "TestIt and R4-injective-case")

    result.assert_outcomes(xfailed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*Satchel made these exceptions*", "*R4-injective-case: the backend folds case"])


def test_an_exception_that_is_not_needed_fails(pytester: pytest.Pytester) -> None:
    test = """
class TestIt(Base):
    exceptions = {"R1-absent-is-none": "it was so once"}
"""
    result = _run(pytester, test, "-k", "TestIt and R1-absent-is-none")

    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*R1-absent-is-none passes: take it out of `exceptions`*"])


@pytest.mark.parametrize(("fails", "outcome"), [(2, "passed"), (20, "failed")])
def test_what_a_server_breaks_once_in_a_while_is_tried_again(
    pytester: pytest.Pytester, fails: int, outcome: str
) -> None:
    test = f"""
class Emulator(Lower):
    attempts = 0

    async def setup(self):
        Emulator.attempts += 1
        await super().setup()

    def _name(self, key):
        return super()._name(key) if self.attempts <= {fails} else MemoryStorage._name(self, key)

class TestIt(Base):
    races = {{"R4-injective-case": "the emulator folds case on Mondays"}}

    @pytest.fixture
    def storage_factory(self):
        return Emulator
"""
    result = _run(pytester, test, "-k", "TestIt and R4-injective-case")

    result.assert_outcomes(**{outcome: 1}, deselected=result.parseoutcomes()["deselected"])
    if outcome == "passed":
        result.stdout.fnmatch_lines(["*R4-injective-case: attempt 3: the emulator folds case on Mondays"])


def test_a_class_that_lacks_its_factory_says_so(pytester: pytest.Pytester) -> None:
    test = """
class TestIt(StorageConformance):
    capabilities = Capabilities()
"""
    result = _run(pytester, test, "-k", "TestIt and R1-absent-is-none")

    result.stdout.fnmatch_lines(["*TestIt needs a fixture storage_url, or storage_factory*"])


def test_overriding_the_standard_test_raises() -> None:
    with pytest.raises(TypeError, match="Mine overrides test_clause; to leave out a clause, name it in `exceptions`"):
        type("Mine", (StorageConformance,), {"capabilities": Capabilities(), "test_clause": lambda self: None})


def test_capabilities_have_to_be_declared() -> None:
    with pytest.raises(TypeError, match="Mine does not declare its capabilities"):
        type("Mine", (StorageConformance,), {})


@pytest.mark.parametrize(
    ("exceptions", "message"),
    [
        ({"R4-injective-case": ""}, "R4-injective-case needs a reason"),
        ({"R4-injective-case": None}, "R4-injective-case needs a reason"),
        ({"R4-injective-cases": "folds"}, "there is no clause 'R4-injective-cases'"),
    ],
)
def test_exceptions_name_a_clause_and_give_a_reason(exceptions: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        type("Mine", (StorageConformance,), {"capabilities": MemoryStorage.capabilities, "exceptions": exceptions})


_MISSING = """
import pytest
from satchel_conformance.backends import Backend, BackendMissing
from satchel_conformance.plugin import url_fixture

def start():
    raise BackendMissing("there is no engine")

nosql_url = url_fixture(Backend("nosql", start))

@pytest.mark.parametrize("number", range(4))
def test_it(nosql_url, number):
    assert nosql_url == "nosql://there"
"""


def _not_run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(_MISSING)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rs", *arguments)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "in parallel"])
def test_a_missing_backend_is_skipped_and_named_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    file = tmp_path / "not-run"
    file.write_text('{"backend": "other", "why": "of an earlier session"}\n')
    monkeypatch.delenv("SATCHEL_REQUIRE", raising=False)
    monkeypatch.setenv("SATCHEL_NOT_RUN_FILE", str(file))

    _not_run(pytester, *workers)
    result = _not_run(pytester, *workers)

    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["*Satchel did not run these backends*", "nosql: there is no engine"])
    result.stdout.fnmatch_lines(["SKIPPED*there is no engine (or name a server in SATCHEL_TEST_NOSQL_URL)"])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[1:] == [{"backend": "nosql", "why": "there is no engine"}]


@pytest.mark.parametrize("required", ["all", "nosql", "redis, nosql"])
def test_a_required_backend_that_is_missing_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    monkeypatch.setenv("SATCHEL_REQUIRE", required)

    result = _not_run(pytester)

    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(["*nosql is required, but there is no engine*"])


def test_a_server_that_the_environment_names_is_used(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SATCHEL_TEST_NOSQL_URL", "nosql://there")

    _not_run(pytester).assert_outcomes(passed=4)


def test_a_test_that_fails_shows_what_its_server_has_logged(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SATCHEL_TEST_REDIS_URL", "SATCHEL_NOT_RUN_FILE"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile("""
import pytest
from satchel_conformance.backends import run_in

@pytest.mark.parametrize("program", ["true", "kill 1"])
def test_it(redis_url, program):
    run_in(int(redis_url.rpartition(":")[2].partition("/")[0]), program)
    assert program == "true"
""")

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rs")

    if result.parseoutcomes().get("skipped"):
        pytest.skip("no container engine answers")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*end of the log of redis_url, redis:7*", "*Ready to accept connections*"])


@contextmanager
def _crossed() -> Iterator[str]:
    """Start two servers, each of which has at IPv6 the port that the other has at IPv4; give both ports and names."""
    ports = free_ports(2)
    with ExitStack() as stack:
        names = []
        for at_ipv4, at_ipv6 in (ports, reversed(ports)):
            made = prepared("redis:7", REDIS_READY)
            vars(made)["ports"] = {"6379": [("127.0.0.1", at_ipv4), ("::1", at_ipv6)]}
            stack.enter_context(running(made))
            names.append(made.get_wrapped_container().short_id)
        yield " ".join([*map(str, ports), *names])


crossed_url = url_fixture(Backend("crossed", _crossed))


def test_a_script_runs_in_the_container_that_publishes_the_port_at_ipv4(crossed_url: str) -> None:
    first, second, *names = crossed_url.split()

    assert [run_in(int(port), "hostname").strip() for port in (first, second)] == names


def test_without_an_engine_a_container_is_missing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    for name in ("SATCHEL_TEST_REDIS_URL", "SATCHEL_REQUIRE", "SATCHEL_NOT_RUN_FILE"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile("def test_it(redis_url): pass")

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["redis: no container engine answers: *"])
