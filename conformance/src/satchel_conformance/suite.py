"""The suite for pytest: a class to derive from, with one test for each clause that applies."""

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final

import pytest

from satchel import Capabilities, open_storage
from satchel_conformance.bench import Factory, Setting
from satchel_conformance.declared import Declared
from satchel_conformance.registry import Clause, select
from satchel_conformance.results import Status
from satchel_conformance.runner import check_exceptions, profile_of
from satchel_conformance.running import run_clause

_OURS: Final = ("test_clause", "pytest_generate_tests")


class StorageConformance:
    """Derive from it, declare what the storage can do, and add a fixture `storage_url`.

        class TestSQLite(StorageConformance):
            capabilities = SQLiteStorage.capabilities

            @pytest.fixture
            def storage_url(self, tmp_path):
                return f"sqlite:///{tmp_path}/bot.db"

    A storage that `satchel.open_storage` does not know has a fixture `storage_factory` instead, that returns what makes
    storages; then other processes, and faults of the network, cannot be tried. A durable one whose server can be killed
    has a fixture `kill_server`. More is tried where the environment says SATCHEL_PROFILE=thorough.

    Attributes:
        capabilities: what the storage declares.
        shared: False if every storage has its records to itself, like a dict.
        network: True if the URL is of one server, which a proxy can stand in front of to break the connection.
        exceptions: clauses that may fail, each with the reason. They run, and are reported as expected failures; one
            that passes fails.
        races: clauses that the server which stands in for the backend breaks once in a while, whoever its client is,
            each with what was seen of it. They are tried up to twenty times, and reported when that was needed.
    """

    capabilities: ClassVar[Capabilities]
    shared: ClassVar[bool] = True
    network: ClassVar[bool] = False
    exceptions: ClassVar[Mapping[str, str]] = {}
    races: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if taken := [name for name in _OURS if name in cls.__dict__]:
            raise TypeError(f"{cls.__name__} overrides {taken[0]}; to leave out a clause, name it in `exceptions`")
        if not isinstance(getattr(cls, "capabilities", None), Capabilities):
            raise TypeError(f"{cls.__name__} does not declare its capabilities")
        check_exceptions(cls.exceptions, cls.races)

    @pytest.fixture
    def storage_url(self) -> str:
        """Return the URL that storages are opened by."""
        return ""

    @pytest.fixture
    def storage_factory(self, storage_url: str) -> Factory:
        """Return what makes storages; see `validate` for what it may take."""
        if not storage_url:
            raise NotImplementedError(f"{type(self).__name__} needs a fixture storage_url, or storage_factory")
        return partial(open_storage, storage_url)

    @pytest.fixture
    def kill_server(self) -> Callable[[], object] | None:
        """Return what ends the server with SIGKILL. It is to come back by itself, as under a supervisor."""
        return None

    @classmethod
    def _declared(cls) -> Declared:
        return Declared(cls.capabilities, cls.shared, cls._has("storage_url"), cls.network, cls._has("kill_server"))

    @classmethod
    def _has(cls, fixture: str) -> bool:
        return any(fixture in vars(kind) for kind in cls.__mro__ if kind is not StorageConformance)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each clause that applies; the clause's id is the test's."""
        if "clause" in metafunc.fixturenames:
            declared = self._declared()
            clauses = [clause for clause in select() if declared.missing(clause.needs) is None]
            metafunc.parametrize("clause", clauses, ids=[clause.id for clause in clauses])

    def test_clause(
        self,
        clause: Clause,
        storage_factory: Callable[..., Any],
        storage_url: str,
        kill_server: Callable[[], object] | None,
        record_property: Callable[[str, object], None],
    ) -> None:
        """Hold the storage to one clause."""
        profile = profile_of(os.environ.get("SATCHEL_PROFILE", "quick"))
        setting = Setting(profile, storage_url, kill_server, self.exceptions, self.races)
        result = asyncio.run(run_clause(clause, storage_factory, self._declared(), setting))
        if result.reason and result.status is not Status.NOT_APPLICABLE:
            record_property("satchel_exception", f"{clause.id}: {result.reason}")
        if result.status is Status.EXCEPTED:
            pytest.xfail(result.reason)
        elif result.status is Status.NOT_APPLICABLE:
            pytest.skip(result.reason)
        elif result.status is Status.FAILED:
            pytest.fail(result.explain(), pytrace=False)
