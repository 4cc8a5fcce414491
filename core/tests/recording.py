"""A storage that notes what reaches it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from satchel import ANY, Expected, MemoryStorage, Payload, Session


class Recording(MemoryStorage[Any]):
    """Memory that notes each visit of its hooks: "get", "put", "put?" (conditional), "drop", "drop?"."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.visits: list[str] = []

    async def get(self, name: str) -> Payload | None:
        self.visits.append("get")
        return await super().get(name)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.visits.append("put" if expected is ANY else "put?")
        return await super().put(name, payload, expected)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.visits.append("drop" if expected is ANY else "drop?")
        return await super().drop(name, expected)


class Together(Recording):
    """Notes also what reads and changes several records."""

    async def get_records(self, names: Sequence[str]) -> dict[str, tuple[Payload, str]]:
        self.visits.append(f"get {len(names)}")
        return await super().get_records(names)

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        return {name: payload for name in names if (payload := self._alive(name)) is not None}

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        self.visits.append(f"put {len(changes)}")
        before, versions = len(self.visits), await super().put_records(changes)
        del self.visits[before:]
        return versions


class Each(Recording):
    """Changes several records each by itself, and not all or none; notes it as "each"."""

    capabilities = replace(MemoryStorage.capabilities, transactional=False)

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        self.visits.append(f"get {len(names)}")
        return {name: payload for name in names if (payload := self._alive(name)) is not None}

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        self.visits.append(f"each {len(changes)}")
        before, versions = len(self.visits), await super().put_each(changes)
        del self.visits[before:]
        return versions


def put(**fields: Any) -> Callable[[Session[Any]], None]:
    """Return a change that makes these fields the whole data of a session."""

    def change(session: Session[Any]) -> None:
        session.data = fields

    return change


class Plain:
    """Three methods, and nothing else: the least that is a storage."""

    def __init__(self) -> None:
        self.memory: MemoryStorage[Any] = MemoryStorage()

    async def read(self, key: str) -> Any:
        return await self.memory.read(key)

    async def write(self, key: str, value: Any) -> None:
        await self.memory.write(key, value)

    async def delete(self, key: str) -> None:
        await self.memory.delete(key)
