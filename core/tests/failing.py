"""A storage whose server is away, or whose answers are lost, when a test says so."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from satchel import ANY, Expected, MemoryStorage, Payload, StorageUnavailableError

T = TypeVar("T")


class Failing(MemoryStorage[Any]):
    """Memory with a server in front of it.

    Attributes:
        away: every call fails, and does nothing.
        fails: so many calls fail, and do nothing.
        lost: so many answers are lost, of calls that are carried out.
        calls: how many calls came.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.away = False
        self.fails = 0
        self.lost = 0
        self.calls = 0

    async def answered(self, work: Coroutine[Any, Any, T]) -> T:
        self.calls += 1
        if self.away or self.fails:
            self.fails = max(0, self.fails - 1)
            work.close()
            raise StorageUnavailableError(f"{self.where} does not answer")
        result = await work
        if self.lost:
            self.lost -= 1
            raise StorageUnavailableError(f"{self.where} did not answer in time")
        return result

    async def get(self, name: str) -> Payload | None:
        return await self.answered(super().get(name))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await self.answered(super().put(name, payload, expected))

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await self.answered(super().drop(name, expected))

    async def renew(self, name: str) -> bool:
        return await self.answered(super().renew(name))

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        return await self.answered(super().get_many(names))

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        return await self.answered(super().put_records(changes))

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        async def each() -> dict[str, str]:
            found = {name: await MemoryStorage.put_records(self, {name: change}) for name, change in changes.items()}
            return {name: versions.get(name, "") for name, versions in found.items() if versions is not None}

        return await self.answered(each())

    async def open(self) -> None:
        await self.answered(super().open())
