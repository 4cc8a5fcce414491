"""Storages that keep the objects that were written, or hand out those that they keep."""

from collections.abc import Iterable, Mapping
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, World
from satchel import Record


class Keeps(Correct):
    """Keeps live objects."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.kept: dict[str, Any] = {}


@planted("R3-after-write")
class KeepsWritten(Keeps):
    """Reads give the very object that was written."""

    async def write(self, key: str, value: Any) -> None:
        await super().write(key, value)
        self.kept[key] = value

    async def read(self, key: str) -> Any:
        return self.kept[key] if key in self.kept else await super().read(key)


@planted("R3-after-read")
class KeepsRead(Keeps):
    """Every read gives the same object."""

    async def read(self, key: str) -> Any:
        self.kept[key] = self.kept.get(key) or await super().read(key)
        return self.kept[key]


@planted("R3-versioned")
class KeepsRecords(Keeps):
    """read_versioned gives the very object that was written."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        version = await super().write_versioned(key, value, expected)
        self.kept[version] = value
        return version

    async def read_versioned(self, key: str) -> Record[Any] | None:
        record = await super().read_versioned(key)
        return record and Record(self.kept.get(record.version, record.value), record.version)


@planted("R3-batch")
class KeepsBatches(Keeps):
    """read_many gives the very objects that write_many was given."""

    async def write_many(self, values: Mapping[str, Any]) -> None:
        await super().write_many(values)
        self.kept.update(values)

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        return {key: self.kept.get(key, value) for key, value in (await super().read_many(keys)).items()}
