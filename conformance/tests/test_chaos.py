"""How `nox -s chaos` tells a lost update, and its figures; killing servers is for the session itself."""

import asyncio
from itertools import count
from typing import Any

import pytest

from conformance.chaos.account import Account
from conformance.chaos.figures import figures
from conformance.chaos.load import Event, Load
from satchel import ANY, MemoryStorage, StorageUnavailableError
from satchel.adapter import Expected, Payload


class Sometimes(MemoryStorage[Any]):
    """Does something else at every tenth write."""

    def __init__(self) -> None:
        super().__init__()
        self.number = count(1)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if next(self.number) % 10:
            return await super().put(name, payload, expected)
        return await self.instead(name, payload, expected)

    async def instead(self, name: str, payload: Payload, expected: Expected) -> str | None:
        raise NotImplementedError


class Forgets(Sometimes):
    async def instead(self, name: str, payload: Payload, expected: Expected) -> str | None:
        return self.version_of(payload)


class Overwrites(Sometimes):
    async def instead(self, name: str, payload: Payload, expected: Expected) -> str | None:
        await super().put(name, self.older, ANY)
        return self.version_of(payload)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if not hasattr(self, "older"):
            self.older = payload
        return await super().put(name, payload, expected)


class RaisesBefore(Sometimes):
    async def instead(self, name: str, payload: Payload, expected: Expected) -> str | None:
        raise StorageUnavailableError("it is away")


class RaisesAfter(Sometimes):
    async def instead(self, name: str, payload: Payload, expected: Expected) -> str | None:
        await MemoryStorage.put(self, name, payload, expected)
        raise StorageUnavailableError("its answer was lost")


class RaisesWhatABotCannotTell(Sometimes):
    async def instead(self, name: str, payload: Payload, expected: Expected) -> str | None:
        raise OSError("it is away")


async def wrong_with(storage: MemoryStorage[Any]) -> list[str]:
    load = Load(storage, keys=["chat:1", "chat:2"], tasks=3)
    async with asyncio.timeout(20):
        while load.acknowledged < 150:
            await asyncio.sleep(0.01)
    await load.stop()
    return await load.settle()


@pytest.mark.parametrize("kind", [MemoryStorage, RaisesBefore, RaisesAfter])
async def test_a_storage_that_keeps_what_it_acknowledged_is_right_whatever_became_of_the_rest(kind: Any) -> None:
    assert await wrong_with(kind()) == []


@pytest.mark.parametrize("kind", [Forgets, Overwrites])
async def test_an_update_that_was_acknowledged_and_is_not_there_is_noticed(kind: Any) -> None:
    assert any("acknowledged updates were lost" in wrong for wrong in await wrong_with(kind()))


async def test_an_error_that_is_not_typed_is_noticed() -> None:
    assert any("StorageError" in wrong for wrong in await wrong_with(RaisesWhatABotCannotTell()))


def test_a_loss_is_noticed_behind_an_update_of_which_nobody_knows() -> None:
    account = Account()
    for replaced in range(4):
        account.acknowledge(account.ask(), replaced)
    account.doubt(account.ask(), 2)  # it was made, on top of a session that lacks the last two
    account.acknowledge(account.ask(), 5)
    assert (account.lost, account.acknowledged) == (2, [1, 2, 6])


def test_an_update_that_nobody_made_is_noticed() -> None:
    account = Account()
    account.acknowledge(account.ask(), 7)
    assert account.unasked == 1


def test_an_outage_is_that_of_the_session_which_was_away_for_longest() -> None:
    quick = [Event(number / 10, "quick", "") for number in range(1, 101)]
    slow = [Event(at, "slow", "") for at in (2.0, 4.5, 8.5, 9.5)]
    failed = [Event(6.0, "slow", "StorageUnavailableError"), Event(4.0, "slow", "ConflictError")]
    found = figures("killed", sorted(quick + slow + failed), began=0.0, struck=5.0, ended=10.0)
    assert found.outage == 4.0
    assert found.recovered == 3.5
    assert found.errors == {"StorageUnavailableError": 1}
    assert found.before == pytest.approx(52 / 5)
