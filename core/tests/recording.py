"""A storage that notes what reaches it."""

from collections.abc import Callable
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
