"""An `AgentSession` keeps a conversation of the Agents SDK, whoever else works on it."""

import asyncio
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from agents import Agent, Model, ModelResponse, RunConfig, Runner, SessionSettings, Usage, function_tool
from agents.memory import Session as SessionProtocol
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from satchel import (
    ConfigurationError,
    CorruptValueError,
    InvalidKeyError,
    MemoryStorage,
    Sessions,
    Storage,
    UnsupportedValueError,
    ValueTooLargeError,
    blocking,
    open_storage,
)
from satchel_openai_agents import AgentSession

PROGRAM = Path(__file__).with_name("appender.py")
append = runpy.run_path(str(PROGRAM))["append"]
OFFLINE = RunConfig(tracing_disabled=True)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        found: str = request.getfixturevalue("redis_url")
        return found
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Storage[Any]]:
    async with open_storage(url, namespace=uuid4().hex) as opened:
        yield opened


@pytest.fixture
def session(storage: Storage[Any]) -> AgentSession:
    return AgentSession("chat:42", Sessions(storage))


class Waiter(Model):
    """Orders, by a tool, what it is asked for, and then says how many items of conversation it was given."""

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> ModelResponse:  # noqa: A002
        last = input[-1]
        if last.get("type") == "function_call_output":
            text = ResponseOutputText(text=f"{len(input)} items", type="output_text", annotations=[])
            output: Any = ResponseOutputMessage(
                id=uuid4().hex, type="message", role="assistant", status="completed", content=[text]
            )
        else:
            output = ResponseFunctionToolCall(
                id=uuid4().hex, call_id=uuid4().hex, type="function_call", name="order",
                arguments=f'{{"pizza": "{last["content"]}"}}',
            )  # fmt: skip
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@function_tool
async def order(pizza: str) -> str:
    """Order a pizza."""
    await asyncio.sleep(0)
    return f"one {pizza}"


WAITER = Agent(name="Waiter", model=Waiter(), tools=[order])


def said(*contents: str) -> list[Any]:
    return [{"role": "user", "content": content} for content in contents]


def contents(items: list[Any]) -> list[str]:
    return [item["content"] for item in items]


async def test_an_agent_remembers_what_was_said_to_it(session: AgentSession) -> None:
    first = await Runner.run(WAITER, "margherita", session=session, run_config=OFFLINE)
    assert first.final_output == "3 items"  # what was said, the call of the tool, and its result
    second = await Runner.run(WAITER, "marinara", session=session, run_config=OFFLINE)
    assert second.final_output == "7 items"
    kinds = [item.get("type", item.get("role")) for item in await session.get_items()]
    assert kinds == ["user", "function_call", "function_call_output", "message"] * 2


async def test_the_limit_of_the_settings_is_how_much_an_agent_is_given(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage)
    await AgentSession("chat:42", sessions).add_items(said(*"abcdef"))
    session = AgentSession("chat:42", sessions, session_settings=SessionSettings(limit=2))
    assert contents(await session.get_items()) == ["e", "f"]
    result = await Runner.run(WAITER, "margherita", session=session, run_config=OFFLINE)
    assert result.final_output == "5 items"


async def test_items_are_got_in_order_and_popped_from_the_end(session: AgentSession) -> None:
    assert await session.get_items() == []
    assert await session.pop_item() is None
    await session.add_items([])
    await session.add_items(said("a", "b", "c"))
    await session.add_items(said("d"))
    assert contents(await session.get_items()) == ["a", "b", "c", "d"]
    assert contents(await session.get_items(limit=2)) == ["c", "d"]
    assert contents(await session.get_items(limit=9)) == ["a", "b", "c", "d"]
    assert await session.get_items(limit=0) == []
    assert await session.pop_item() == {"role": "user", "content": "d"}
    assert contents(await session.get_items()) == ["a", "b", "c"]
    await session.clear_session()
    assert await session.get_items() == []


async def test_conversations_are_kept_apart(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, prefix="agent:")
    for number in range(3):
        await AgentSession(f"chat:{number}", sessions).add_items(said(str(number)))
    await AgentSession("chat:0", sessions).clear_session()
    assert [contents(await AgentSession(f"chat:{n}", sessions).get_items()) for n in range(3)] == [[], ["1"], ["2"]]
    assert await storage.read("agent:chat:1") == {"items": said("1")}


async def test_of_many_runs_at_once_nothing_is_lost(session: AgentSession) -> None:
    pizzas = [f"pizza {number}" for number in range(10)]
    await asyncio.gather(*(Runner.run(WAITER, pizza, session=session, run_config=OFFLINE) for pizza in pizzas))
    items: list[Any] = await session.get_items()
    assert sorted(item["content"] for item in items if item.get("role") == "user") == sorted(pizzas)
    calls = {item["call_id"] for item in items if item.get("type") == "function_call"}
    results = {item["call_id"] for item in items if item.get("type") == "function_call_output"}
    assert len(calls) == len(pizzas)
    assert calls == results


async def test_of_many_that_add_and_pop_at_once_each_item_is_there_once(storage: Storage[Any]) -> None:
    # Each has its own Sessions, so no lock of this process stands between them.
    added = [f"{number}" for number in range(20)]
    await asyncio.gather(*(AgentSession("chat:42", Sessions(storage)).add_items(said(one)) for one in added))
    popped = await asyncio.gather(*(AgentSession("chat:42", Sessions(storage)).pop_item() for _ in range(8)))
    left = await AgentSession("chat:42", Sessions(storage)).get_items()
    assert sorted(contents([*popped, *left])) == sorted(added)


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)
async def test_what_two_processes_add_at_once_is_all_there_and_what_belongs_together_is(url: str) -> None:
    namespace = uuid4().hex
    program = [sys.executable, str(PROGRAM), url, namespace, "A", "100"]
    async with open_storage(url, namespace=namespace) as storage:
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            other.stdout.readline()
            other.stdin.write("go\n")
            other.stdin.flush()
            await append(storage, "B", 100)
        assert other.returncode == 0
        there = contents(await AgentSession("chat:42", Sessions(storage)).get_items())
    for name in "AB":
        assert [one for one in there if one.startswith(name)] == [f"{name}-{number}" for number in range(100)]
    assert all(first[0] == second[0] for first, second in zip(there[::2], there[1::2], strict=True))


async def test_a_conversation_ends_with_the_lifetime_of_its_session() -> None:
    sessions = Sessions[Any](MemoryStorage(), idle_timeout=timedelta(milliseconds=20))
    session = AgentSession("chat:42", sessions)
    await session.add_items(said("a"))
    await asyncio.sleep(0.03)
    assert await session.get_items() == []
    await session.add_items(said("b"))
    assert contents(await session.get_items()) == ["b"]


async def test_what_is_not_json_is_refused_by_its_path_and_nothing_is_added(session: AgentSession) -> None:
    await session.add_items(said("a"))
    bad: Any = {"role": "user", "content": date(2026, 11, 21)}
    with pytest.raises(UnsupportedValueError, match=r"\$\.items\[2\]\.content"):
        await session.add_items([*said("b"), bad])
    assert contents(await session.get_items()) == ["a"]


async def test_a_conversation_that_has_become_too_large_raises_and_stays() -> None:
    class Small(MemoryStorage[Any]):
        capabilities = replace(MemoryStorage.capabilities, max_value_bytes=200)

    session = AgentSession("chat:42", Sessions(Small()))
    await session.add_items(said("a"))
    with pytest.raises(ValueTooLargeError, match="takes 200"):
        await session.add_items(said("b" * 200))
    assert contents(await session.get_items()) == ["a"]


async def test_what_is_no_conversation_raises_and_stays(session: AgentSession, storage: Storage[Any]) -> None:
    await storage.write("chat:42", {"pizza": 1})
    for call in (session.get_items(), session.add_items(said("a")), session.pop_item()):
        with pytest.raises(CorruptValueError, match="'chat:42' is no conversation"):
            await call
    assert await storage.read("chat:42") == {"pizza": 1}


def test_it_is_a_session_of_the_sdk_and_its_key_is_checked() -> None:
    sessions = Sessions[Any](MemoryStorage())
    assert isinstance(AgentSession("chat:42", sessions), SessionProtocol)
    with pytest.raises(InvalidKeyError):
        AgentSession("", sessions)


def test_what_are_no_asynchronous_sessions_is_refused() -> None:
    theirs: Any = blocking.Sessions(blocking.Storage(MemoryStorage()))
    storage: Any = MemoryStorage()
    for wrong in (theirs, storage):
        with pytest.raises(ConfigurationError, match="takes Sessions of satchel, not <class"):
            AgentSession("chat:42", wrong)
