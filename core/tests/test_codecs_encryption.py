"""Encryption at rest: a stolen database reveals nothing, a swapped record is refused, and keys can be changed."""

import base64
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recording import Recording
from satchel import (
    JSON,
    Codec,
    ConfigurationError,
    CorruptValueError,
    MemoryStorage,
    Sessions,
    StorageError,
    typed,
)
from satchel.encryption import generate_key, rotate
from satchel_sqlite import SQLiteStorage

OLD, NEW = generate_key(), generate_key()


class Dump(MemoryStorage[Any]):
    """Memory that can be looked into, and tampered with, as a database can by whoever stole its password."""

    def stored(self) -> dict[str, bytes]:
        return {name: payload for name, (payload, _) in self._records.items()}

    def tamper(self, name: str, payload: bytes) -> None:
        self._records[name] = (payload, None)


async def test_the_file_holds_nothing_of_the_value_nor_of_the_keys(tmp_path: Path) -> None:
    async with SQLiteStorage[Any](tmp_path / "bot.db", codec=JSON.encrypted(OLD)) as storage:
        await storage.write("chat:1", {"card": "4111 1111 1111 1111"})
        assert await storage.read("chat:1") == {"card": "4111 1111 1111 1111"}
    found = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"chat:1" in found  # the name is not hidden: see HiddenKeys
    for secret in (b"card", b"4111", OLD.encode(), base64.urlsafe_b64decode(OLD)):
        assert secret not in found


async def test_the_same_value_is_never_the_same_bytes_twice() -> None:
    storage = Dump(codec=JSON.encrypted(OLD))
    for number in range(100):
        await storage.write(f"chat:{number}", {"n": 1})
    assert len({payload[13:] for payload in storage.stored().values()}) == 100


@pytest.mark.parametrize(
    ("namespace", "key"), [("bot", "chat:2"), ("other", "chat:1"), ("bot:chat", "1"), ("bot", "chat:1 ")]
)
async def test_a_record_that_was_copied_to_another_key_or_namespace_is_refused(namespace: str, key: str) -> None:
    storage, other = (Dump(codec=JSON.encrypted(OLD), namespace=name) for name in ("bot", namespace))
    await storage.write("chat:1", {"admin": True})
    await other.write(key, {"admin": False})
    [name] = other.stored()
    other.tamper(name, storage.stored()["bot:chat:1"])
    with pytest.raises(CorruptValueError, match="damaged, or copied from another record"):
        await other.read(key)
    assert await storage.read("chat:1") == {"admin": True}


async def test_no_byte_of_a_record_can_be_changed() -> None:
    storage = Dump(codec=JSON.encrypted(OLD))
    await storage.write("chat:1", {"n": 1})
    [(name, payload)] = storage.stored().items()
    for place in range(len(payload)):
        storage.tamper(name, payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :])
        with pytest.raises(StorageError):
            await storage.read("chat:1")
    for length in range(len(payload)):
        storage.tamper(name, payload[:length])
        with pytest.raises(CorruptValueError):
            await storage.read("chat:1")


async def test_after_a_change_of_keys_old_records_are_read_and_new_ones_need_only_the_new_key() -> None:
    storage = Dump(codec=JSON.encrypted(OLD))
    await storage.write("old", 1)
    [old] = storage.stored().items()
    both = Dump(codec=JSON.encrypted([NEW, OLD]))
    both.tamper(*old)
    assert await both.read("old") == 1
    await both.write("new", 2)
    both.codec = JSON.encrypted(NEW)
    assert await both.read("new") == 2
    with pytest.raises(ConfigurationError, match="'old' in memory:// is encrypted with key [0-9a-f]{16}, which is not"):
        await both.read("old")


async def test_rotating_writes_all_records_by_the_first_key_while_the_bot_runs(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    async with SQLiteStorage[Any](path, codec=JSON.encrypted(OLD)) as storage:
        await storage.write_many({f"chat:{number}": {"n": number} for number in range(600)})
    async with SQLiteStorage[Any](path, codec=JSON.encrypted(f"{NEW},{OLD}")) as storage:
        assert await rotate(storage) == 600
    async with SQLiteStorage[Any](path, codec=JSON.encrypted(NEW)) as storage:
        found = await storage.read_many(f"chat:{number}" for number in range(600))
    assert found == {f"chat:{number}": {"n": number} for number in range(600)}


class Busy(MemoryStorage[Any]):
    """Somebody writes to each record after it was read, once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.busy = False

    async def get(self, name: str) -> bytes | None:
        found = await super().get(name)
        if self.busy:
            self.busy = False
            await self.put(name, self.codec.bound(name).encode("theirs"))
        return found


async def test_rotating_overwrites_nobody() -> None:
    storage = Busy(codec=JSON.encrypted([NEW, OLD]))
    await storage.write("chat:1", "before")
    storage.busy = True
    assert await rotate(storage) == 0
    assert await storage.read("chat:1") == "theirs"


async def test_what_was_written_before_there_was_encryption_is_refused_unless_it_is_allowed() -> None:
    storage = Dump()
    await storage.write("chat:1", {"n": 1})
    storage.codec = JSON.encrypted(OLD)
    with pytest.raises(CorruptValueError, match="not encrypted, and reads_plain is not set"):
        await storage.read("chat:1")
    storage.codec = JSON.compressed().encrypted(OLD, reads_plain=True)
    assert await storage.read("chat:1") == {"n": 1}
    await rotate(storage)
    storage.codec = JSON.compressed().encrypted(OLD)
    assert await storage.read("chat:1") == {"n": 1}


def test_keys_are_taken_as_one_environment_variable_or_a_file_has_them() -> None:
    standard = base64.b64encode(bytes(range(224, 256))).decode()  # has a plus and a slash
    url_safe = base64.urlsafe_b64encode(bytes(range(224, 256))).decode()
    assert standard != url_safe
    payload = JSON.encrypted(standard).bound("x").encode(1)
    for keys in (url_safe, f"{OLD},{url_safe}", f"{OLD} {url_safe}\n", f"\n{url_safe}\n{OLD}\n", (OLD, url_safe)):
        assert JSON.encrypted(keys).bound("x").decode(payload) == 1


@pytest.mark.parametrize(
    "bad",
    ["", "secret", "c2VjcmV0", OLD[:-4], OLD + OLD, [OLD, "sec ret"], [], [b"x" * 32], [None]],
    ids=range(9),  # a key is another in each process
)
def test_a_key_that_is_none_is_refused_without_being_shown(bad: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JSON.encrypted(bad)
    for secret in ("sec", "c2V", OLD[:8]):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_no_message_shows_a_key_or_a_value(caplog: pytest.LogCaptureFixture) -> None:
    storage = Dump(codec=JSON.encrypted(OLD))
    await storage.write("chat:1", {"card": "4111"})
    [(name, payload)] = storage.stored().items()
    storage.tamper(name, payload[:-1])
    with caplog.at_level(logging.DEBUG), pytest.raises(CorruptValueError) as caught:
        await storage.read("chat:1")
    said = f"{caught.value!r} {storage.codec!r} {caplog.text}"
    assert "chat:1" in said
    assert OLD not in said
    assert "4111" not in said


def test_an_encrypted_codec_without_a_record_refuses_to_work() -> None:
    with pytest.raises(ConfigurationError, match="codec.bound"):
        JSON.encrypted(OLD).encode(1)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"it is .compressed\(\).encrypted"):
        JSON.encrypted(OLD).compressed()
    with pytest.raises(ConfigurationError, match="several keys are given at once"):
        JSON.encrypted(OLD).encrypted(NEW)


@dataclass
class Basket:
    pizzas: list[str] = field(default_factory=list)


@pytest.mark.parametrize("codec", [typed(Basket).compressed(threshold=1).encrypted(OLD), typed(Basket).encrypted(OLD)])
async def test_types_compression_and_encryption_compose(codec: Codec[Basket]) -> None:
    storage = Dump(codec=codec)
    sessions = Sessions(storage, initial=Basket, lock=False)
    async with sessions.open("chat:1") as session:
        session.data.pizzas.append("margherita")
    assert await sessions.read("chat:1") == Basket(["margherita"])
    assert b"margherita" not in b"".join(storage.stored().values())


@pytest.mark.parametrize("codec", [JSON.encrypted(OLD), JSON.compressed(threshold=1).encrypted(OLD)])
async def test_an_unchanged_session_is_not_written_although_its_bytes_would_differ(codec: Codec[Any]) -> None:
    storage = Recording(codec=codec)
    sessions = Sessions(storage, initial=dict)
    async with sessions.open("chat:1") as session:
        session.data["n"] = 1
    storage.visits.clear()
    async with sessions.open("chat:1") as session:
        assert session.data == {"n": 1}
        session.data["n"] = 1
    async with sessions.lazy("chat:1") as lazy:
        assert await lazy == {"n": 1}
    assert storage.visits == ["get", "get"]


async def test_sessions_merge_and_move_through_it() -> None:
    sessions = Sessions(MemoryStorage(codec=JSON.encrypted(OLD)), initial=dict, lock=False)
    async with sessions.open("chat:1") as one, sessions.open("chat:1") as two:
        one.data["one"] = 1
        two.data["two"] = 2
    assert await sessions.rename("chat:1", "chat:2")
    assert await sessions.read("chat:2") == {"one": 1, "two": 2}
    assert await sessions.read("chat:1") is None


async def test_a_version_never_comes_back_so_an_old_writer_always_meets_a_conflict() -> None:
    storage = MemoryStorage(codec=JSON.encrypted(OLD))
    first = await storage.write_versioned("chat:1", "a", None)
    second = await storage.write_versioned("chat:1", "b", first)
    third = await storage.write_versioned("chat:1", "a", second)
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("keys", [None, 7, b"key"])
def test_what_is_no_key_is_refused(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"not {type(keys).__name__}"):
        JSON.encrypted(keys)
