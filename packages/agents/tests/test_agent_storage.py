"""An `AgentStorage` keeps the state of an agent, and what turns at the same time do to it."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from microsoft_agents.hosting.core import MemoryStorage as TheirMemoryStorage
from microsoft_agents.hosting.core import StoreItem, TurnContext

from packages.agents.tests.pizzeria import Adapter, pizzeria
from satchel import (
    ConfigurationError,
    ConflictError,
    LeaseLock,
    MemoryStorage,
    Storage,
    StorageUnavailableError,
    UnsupportedValueError,
    blocking,
    open_storage,
)
from satchel_agents import AgentStorage, SequentialTurns

PROGRAM = Path(__file__).with_name("pizzeria.py")
STATE = "msteams/conversations/c1"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        found: str = request.getfixturevalue("redis_url")
        return found
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"


@pytest.fixture
def namespace() -> str:
    return uuid4().hex


@pytest.fixture
async def storage(url: str, namespace: str) -> AsyncIterator[Storage[Any]]:
    async with open_storage(url, namespace=namespace) as opened:
        yield opened


@dataclass
class Order(StoreItem):
    """An item with equality, so that it cannot be hashed."""

    fields: dict[str, Any]

    def store_item_to_json(self) -> dict[str, Any]:
        return self.fields

    @staticmethod
    def from_json_to_store_item(json_data: Any) -> "Order":
        return Order(dict(json_data))


async def read(storage: AgentStorage, key: str = "k") -> Order:
    return (await storage.read([key], target_cls=Order))[key]


async def test_an_agent_remembers_from_one_turn_to_the_next(storage: Storage[Any]) -> None:
    adapter, app = Adapter(), pizzeria(AgentStorage(storage))
    for what in ("margherita", "marinara", "margherita"):
        await adapter.receive(app, what)
    await adapter.receive(pizzeria(AgentStorage(storage)), "margherita")
    await adapter.receive(app, "margherita", conversation="c2")
    assert adapter.sent == ["margherita: 1", "marinara: 1", "margherita: 2", "margherita: 3", "margherita: 1"]
    assert await storage.read(STATE) == {"margherita": 3, "marinara": 1}


@pytest.mark.parametrize("is_first", [True, False])
async def test_turns_at_once_that_change_different_properties_lose_nothing(
    storage: Storage[Any], is_first: bool
) -> None:
    adapter = Adapter()
    if not is_first:
        await adapter.receive(pizzeria(AgentStorage(storage)), "water")
    before = {} if is_first else {"water": 1}
    pizzas = [f"pizza {number}" for number in range(20)]
    kept = {}
    for name, theirs in (("ours", AgentStorage(storage)), ("theirs", TheirMemoryStorage())):
        app = pizzeria(theirs, asyncio.Barrier(len(pizzas)))
        await asyncio.gather(*(adapter.receive(app, pizza) for pizza in pizzas))
        found = (await theirs.read([STATE], target_cls=Order))[STATE].fields
        kept[name] = len(found.keys() & set(pizzas))
    print(f"20 turns at once: {kept['theirs']} kept by the SDK's storage, {kept['ours']} by AgentStorage")  # noqa: T201
    assert kept["ours"] == 20
    assert await storage.read(STATE) == before | dict.fromkeys(pizzas, 1)


async def test_turns_at_once_that_change_the_same_property_raise_but_for_one(storage: Storage[Any]) -> None:
    adapter, app = Adapter(), pizzeria(AgentStorage(storage), asyncio.Barrier(2))
    caught: list[Exception] = []

    @app.error
    async def on_error(context: TurnContext, error: Exception) -> None:
        caught.append(error)

    await storage.write(STATE, {"margherita": 5})
    await asyncio.gather(*(adapter.receive(app, "margherita") for _ in range(2)))
    assert await storage.read(STATE) == {"margherita": 6}
    assert [type(error) for error in caught] == [ConflictError]  # who counted to six as well
    await storage.write("k", {"n": 1})
    items = AgentStorage(storage)
    first, second = await read(items), await read(items)
    first.fields["n"], second.fields["n"] = 2, 3
    await items.write({"k": first})
    with pytest.raises(ConflictError, match="'k' was changed by somebody else in the same field: 'n'"):
        await items.write({"k": second})
    assert await storage.read("k") == {"n": 2}


async def test_turns_one_after_the_other_all_count(storage: Storage[Any]) -> None:
    adapter, app = Adapter(), pizzeria(AgentStorage(storage))
    adapter.use(SequentialTurns())
    await asyncio.gather(*(adapter.receive(app, "margherita") for _ in range(20)))
    assert await storage.read(STATE) == {"margherita": 20}


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)
async def test_turns_of_two_processes_one_after_the_other_all_count(url: str, namespace: str) -> None:
    async with open_storage(url, namespace=namespace) as storage:
        adapter, app = Adapter(), pizzeria(AgentStorage(storage))
        adapter.use(SequentialTurns(LeaseLock(storage)))
        program = [sys.executable, str(PROGRAM), url, namespace, "20"]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            other.stdout.readline()
            other.stdin.write("go\n")
            other.stdin.flush()
            for _ in range(20):
                await adapter.receive(app, "margherita")
        assert other.returncode == 0
        assert await storage.read(STATE) == {"margherita": 40}


async def test_an_item_is_merged_again_and_again(storage: Storage[Any]) -> None:
    mine, theirs = AgentStorage(storage), AgentStorage(storage)
    await mine.write({"k": Order({"a": 0, "b": 0})})
    item, other = await read(mine), await read(theirs)
    for number in range(1, 4):
        item.fields["a"], other.fields["b"] = number, number
        await mine.write({"k": item})
        await theirs.write({"k": other})
        assert await storage.read("k") == {"a": number, "b": number}
    del item.fields["a"]
    await mine.write({"k": item})
    assert await storage.read("k") == {"b": 3}


async def test_a_default_for_an_absent_item_is_written_only_where_there_is_none_yet(storage: Storage[Any]) -> None:
    items = AgentStorage(storage, on_conflict="raise")
    first, second = [(await items.read(["k"], target_cls=Order)).get("k", Order({})) for _ in range(2)]
    first.fields["n"], second.fields["m"] = 1, 2
    await items.write({"k": first})
    with pytest.raises(ConflictError):
        await items.write({"k": second})
    assert await storage.read("k") == {"n": 1}


async def test_the_policy_decides_what_happens_on_a_conflict(storage: Storage[Any]) -> None:
    await storage.write("k", {"a": 0})
    raising = AgentStorage(storage, on_conflict="raise")
    item = await read(raising)
    item.fields["a"] = 1
    await storage.write("k", {"a": 0, "b": 1})
    with pytest.raises(ConflictError):
        await raising.write({"k": item})
    overwriting = AgentStorage(storage, on_conflict="overwrite")
    item = await read(overwriting)
    await storage.write("k", {"c": 1})
    await overwriting.write({"k": item})
    assert await storage.read("k") == {"a": 0, "b": 1}
    with pytest.raises(ConfigurationError, match="on_conflict"):
        AgentStorage(storage, on_conflict="ignore")  # type: ignore[arg-type]


async def test_what_somebody_else_has_deleted_does_not_come_back_by_itself(storage: Storage[Any]) -> None:
    items = AgentStorage(storage)
    await items.write({"k": Order({"a": 1})})
    item = await read(items)
    item.fields["a"] = 2
    await items.delete(["k", "nobody"])
    with pytest.raises(ConflictError, match="deleted by somebody else"):
        await items.write({"k": item})
    assert await items.read(["k"], target_cls=Order) == {}


async def test_items_that_were_not_read_are_written_over_whatever_is_there(storage: Storage[Any]) -> None:
    items = AgentStorage(storage)
    await items.write({"k": Order({"a": 1}), "l": Order({"b": 1})})
    await items.write({"k": Order({"a": 2})})
    assert await items.read(["k", "l", "k", "m"], target_cls=Order) == {"k": Order({"a": 2}), "l": Order({"b": 1})}


async def test_what_is_not_json_is_refused_and_nothing_of_the_call_is_written(storage: Storage[Any]) -> None:
    with pytest.raises(UnsupportedValueError, match=r"\$\.a"):
        await AgentStorage(storage).write({"k": Order({"a": 1}), "l": Order({"a": {1, 2}})})
    assert await storage.read("k") is None


async def test_nothing_to_do_is_a_mistake_as_in_the_storages_of_the_sdk() -> None:
    items = AgentStorage(MemoryStorage())
    with pytest.raises(ValueError, match="keys are required"):
        await items.read([], target_cls=Order)
    with pytest.raises(ValueError, match="changes are required"):
        await items.write({})
    with pytest.raises(ValueError, match="keys are required"):
        await items.delete([])


async def test_an_outage_is_not_a_new_conversation() -> None:
    adapter = Adapter()
    with pytest.raises(StorageUnavailableError):
        await adapter.receive(pizzeria(AgentStorage(open_storage("redis://127.0.0.1:1"))), "margherita")
    assert adapter.sent == []


async def test_what_is_remembered_of_items_goes_with_them() -> None:
    items = AgentStorage(MemoryStorage())
    await items.write({"k": Order({"a": 1})})
    for _ in range(10):
        await read(items)
    gc.collect()
    assert items._seen == {}


def test_a_blocking_storage_is_refused() -> None:
    wrong: Any = blocking.Storage(MemoryStorage())
    with pytest.raises(ConfigurationError, match="is for blocking callers"):
        AgentStorage(wrong)
