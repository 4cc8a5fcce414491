"""A storage that does everything right, over a dict that others share, and yields to the event loop like a driver."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from satchel import ANY, Capabilities, EncodedStorage, Expected, Payload

Row = tuple[Payload, float | None]
"""What is stored, and when it ends."""


CAPABILITIES: Final = Capabilities(
    versioned=True,
    conditional_delete=True,
    expiring=True,
    ttl_resolution=timedelta(milliseconds=1),
    listing=True,
    batch=True,
    atomic_batch=True,
    transactional=True,
)
"""What the storages of bugs can do, whatever they are over."""


class World:
    """A backend: its records, every name that was ever written, and whatever else a bug wants to keep there."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.ever: set[str] = set()
        self.notes: dict[str, Any] = {}


class Correct(EncodedStorage[Any]):
    """Every step is a method, for a bug to override."""

    capabilities = replace(CAPABILITIES, durable=True, max_value_bytes=300_000)

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(where="world://", **options)
        self.world = world
        self.rows = world.rows

    @staticmethod
    def crash(world: World) -> None:
        """Do to the backend what SIGKILL does: one that is right loses nothing."""

    async def get(self, name: str) -> Payload | None:
        await asyncio.sleep(0)
        return self.alive(name)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        await asyncio.sleep(0)
        if not self.is_at(name, expected):
            return None
        self.rows[name] = (payload, self.end())
        self.world.ever.add(name)
        return self.version_of(payload)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        await asyncio.sleep(0)
        if not self.is_at(name, expected):
            return False
        self.rows.pop(name, None)
        return True

    async def renew(self, name: str) -> bool:
        await asyncio.sleep(0)
        payload = self.alive(name)
        if payload is None:
            return False
        self.rows[name] = (payload, self.end())
        return True

    async def purge(self) -> int:
        await asyncio.sleep(0)
        dead = [name for name, row in self.rows.items() if is_over(row)]
        for name in dead:
            del self.rows[name]
        return len(dead)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        await asyncio.sleep(0)
        names = [name for name, row in self.rows.items() if name.startswith(prefix) and not is_over(row)]
        for start in range(0, len(names), 100):
            yield names[start : start + 100]
            await asyncio.sleep(0)

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        await asyncio.sleep(0)
        return {name: payload for name in names if (payload := self.alive(name)) is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await asyncio.sleep(0)
        for name, payload in payloads.items():
            self.rows[name] = (payload, self.end())
            self.world.ever.add(name)

    async def drop_many(self, names: Sequence[str]) -> None:
        await asyncio.sleep(0)
        for name in names:
            self.rows.pop(name, None)

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        await asyncio.sleep(0)
        if not all(self.is_at(name, expected) for name, (_, expected) in changes.items()):
            return None
        for name, (payload, _) in changes.items():
            if payload is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = (payload, self.end())
                self.world.ever.add(name)
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}

    def alive(self, name: str) -> Payload | None:
        """Return the payload of a record that has not ended."""
        row = self.rows.get(name)
        return None if row is None or is_over(row) else row[0]

    def is_at(self, name: str, expected: Expected) -> bool:
        """Tell whether a record is what a write expects."""
        if expected is ANY:
            return True
        payload = self.alive(name)
        return (None if payload is None else self.version_of(payload)) == expected

    def end(self) -> float | None:
        """Return when what is written now ends."""
        return None if self.ttl_ms is None else time.monotonic() + self.ttl_ms / 1000


class Plain(Correct):
    """Has no transactions: in most bugs with versions they would only be wrong in the same way."""

    capabilities = replace(Correct.capabilities, transactional=False)


class Each(Correct):
    """Changes several records each by itself, and in no transaction, for the same reason."""

    capabilities = replace(Correct.capabilities, transactional=False, versioned_batch=True)

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        await asyncio.sleep(0)
        return {name: self.change(name, *what) for name, what in changes.items() if self.is_at(name, what[1])}

    def change(self, name: str, payload: Payload | None, expected: str | None) -> str:
        """Change one record that is as expected, and return its version."""
        if payload is None:
            self.rows.pop(name, None)
            return ""
        self.rows[name] = (payload, self.end())
        self.world.ever.add(name)
        return self.version_of(payload)


class Alone(Correct):
    """Has its records to itself, as one over a dict does."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(World(), **options)


def is_over(row: Row) -> bool:
    """Tell whether a record has ended."""
    return row[1] is not None and row[1] <= time.monotonic()
