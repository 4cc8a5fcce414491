"""Storages that keep the objects that were written, or hand out those that they keep."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, World
from satchel import Record


class Keeps(Correct):
    """Keeps live objects."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.kept: dict[Any, Any] = {}


@planted("R3-after-write")
class KeepsWritten(Keeps):
    """A value is stored as it is by the time that it is read."""

    async def write(self, key: str, value: Any) -> None:
        await super().write(key, value)
        self.kept[key] = (value, deepcopy(value))

    async def read(self, key: str) -> Any:
        value = await super().read(key)
        live, written = self.kept.get(key, (None, None))
        return deepcopy(live) if value is not None and repr(value) == repr(written) else value


@planted("R3-after-read")
class KeepsRead(Keeps):
    """What was decoded once is given to everybody who reads the same bytes."""

    async def read(self, key: str) -> Any:
        payload = await self._call(self.get, self._name(key))
        if payload is not None and payload not in self.kept:
            self.kept[payload] = self._decode(self._name(key), key, payload)
        return None if payload is None else self.kept[payload]


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
