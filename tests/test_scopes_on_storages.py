"""Scopes and the assistant on storages of each kind: transactional ones, and those that change one record at a time."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from satchel import Storage, open_storage
from satchel.assistant import Assistant, Turn
from satchel.scopes import Address, Scopes

ADA = Address("telegram", user=7, conversation=42)


@pytest.fixture(params=["file", "sqlite", "redis", "mongodb", "postgres"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage[Any]]:
    if request.param in ("file", "sqlite"):
        url = f"{request.param}:///{tmp_path}/sessions"
    else:
        url = request.getfixturevalue(f"{request.param}_url")
    async with open_storage(url, namespace=f"t{secrets.token_hex(4)}") as opened:
        yield opened


async def test_containers_are_kept_merged_and_cleared(storage: Storage[Any]) -> None:
    processes = [Scopes(storage, channel="telegram", lock=False) for _ in range(3)]

    async def turn(number: int) -> None:
        async with processes[number].open(ADA) as scope:
            await asyncio.sleep(0)
            for data in (scope.user_data, scope.conversation_data, scope.private_conversation_data):
                data[f"from {number}"] = number

    await asyncio.gather(*map(turn, range(3)))
    everything = {"from 0": 0, "from 1": 1, "from 2": 2}
    async with processes[0].open(ADA) as scope:
        assert scope.user_data == scope.conversation_data == scope.private_conversation_data == everything
        scope.begin_dialog("order", {"size": "L"})
    async with processes[0].open(ADA) as scope:
        assert (scope.dialog, scope.dialog_data) == ("order", {"size": "L"})
        scope.end_conversation()
        scope.user_data = {}
    for key in (ADA.user_key, ADA.conversation_key, ADA.private_key):
        assert await storage.read(str(key)) is None


async def test_an_assistant_loses_no_turn(storage: Storage[Any]) -> None:
    processes = [Assistant(storage, lock=False) for _ in range(3)]

    async def handle(turn: Turn) -> int:
        turn.storage["n"] = turn.storage.get("n", 0) + 1
        await asyncio.sleep(0)
        return int(turn.storage["n"])

    answers = await asyncio.gather(*(one.respond("user:7", handle, slots={"size": "L"}) for one in processes))
    assert sorted(answers) == [1, 2, 3]
    assert await processes[0].respond("user:7", lambda turn: turn.slots) == {"size": "L"}
