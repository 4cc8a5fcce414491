"""Wrappers in general: each is the storage inside, no more and no less."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recording import Plain
from satchel import (
    JSON,
    Batch,
    Capabilities,
    ConfigurationError,
    ConflictError,
    EncodedStorage,
    Expiring,
    LeaseLock,
    Lifecycle,
    Listing,
    MemoryStorage,
    Sessions,
    StorageAdapter,
    StorageClosedError,
    Transactional,
    Versioned,
    VersionedBatch,
)
from satchel.encryption import generate_key
from satchel.wrappers import Cached, Fallback, HiddenKeys, Mirrored, ReadOnly, Retrying, Telemetry
from satchel_sqlite import SQLiteStorage

PROTOCOLS = (StorageAdapter, Versioned, Expiring, Listing, Batch, Transactional, VersionedBatch, Lifecycle)
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "Cached": Cached,
    "Fallback": lambda storage: Fallback(storage, MemoryStorage()),
    "HiddenKeys": lambda storage: HiddenKeys(storage, generate_key()),
    "Mirrored": lambda storage: Mirrored(storage, MemoryStorage()),
    "ReadOnly": ReadOnly,
    "Retrying": Retrying,
    "Telemetry": Telemetry,
}
every_wrapper = pytest.mark.parametrize("wrap", [pytest.param(wrap, id=name) for name, wrap in WRAPPERS.items()])


class Few(MemoryStorage[Any]):
    """Memory that declares little."""

    capabilities = Capabilities(versioned=True, max_value_bytes=100)


class Each(MemoryStorage[Any]):
    """Memory that changes several records, but not all or none."""

    capabilities = replace(MemoryStorage.capabilities, transactional=False)


class Whole(MemoryStorage[Any]):
    """Memory that changes several records all or none, and not otherwise."""

    capabilities = replace(MemoryStorage.capabilities, versioned_batch=False)


class LateToKnow(MemoryStorage[Any]):
    """Memory that finds out what it can do when it is opened."""

    async def open(self) -> None:
        self.lacks(listing=False, batch=False, atomic_batch=False)


@every_wrapper
@pytest.mark.parametrize("make", [MemoryStorage, Each, Whole, Few, Plain])
def test_a_wrapper_has_the_protocols_of_the_storage_inside_and_no_others(wrap: Any, make: Any) -> None:
    inside = make()
    assert [isinstance(wrap(inside), kind) for kind in PROTOCOLS] == [isinstance(inside, kind) for kind in PROTOCOLS]


@every_wrapper
async def test_what_the_storage_inside_finds_out_when_it_is_opened_is_known_afterwards(wrap: Any) -> None:
    wrapper = wrap(LateToKnow())
    assert isinstance(wrapper, Listing)
    assert isinstance(wrapper, Lifecycle)
    await wrapper.setup()
    assert isinstance(wrapper, Versioned)
    assert not isinstance(wrapper, Listing | Batch)
    assert not wrapper.capabilities.listing


@every_wrapper
def test_capabilities_are_those_of_the_storage_inside_or_less(wrap: Any) -> None:
    wrapper = wrap(MemoryStorage())
    inside, outside = MemoryStorage.capabilities, wrapper.capabilities
    differ = {name for name in Capabilities.__dataclass_fields__ if getattr(inside, name) != getattr(outside, name)}
    assert differ <= {"read_your_writes", "atomic_batch", "max_key_bytes"}
    assert outside.max_key_bytes <= inside.max_key_bytes
    assert not outside.read_your_writes or inside.read_your_writes


@every_wrapper
def test_capabilities_of_a_storage_that_declares_none_are_what_can_be_seen(wrap: Any) -> None:
    assert not wrap(Plain()).capabilities.versioned


@every_wrapper
def test_codec_and_lifetime_are_those_of_the_storage_inside(wrap: Any) -> None:
    codec = JSON.compressed()
    wrapper = wrap(MemoryStorage(codec=codec, ttl=timedelta(hours=1)))
    assert wrapper.codec is codec
    assert wrapper.ttl == timedelta(hours=1)
    assert wrapper.where == "memory://"
    assert not hasattr(wrap(Plain()), "codec")


@every_wrapper
async def test_it_owns_what_it_wraps(wrap: Any) -> None:
    inside = MemoryStorage()
    async with wrap(inside) as wrapper:
        assert await wrapper.read("chat:1") is None
    for storage in (inside, wrapper, getattr(wrapper, "secondary", inside)):
        with pytest.raises(StorageClosedError):
            await storage.read("chat:1")


@every_wrapper
async def test_it_closes_what_could_not_be_set_up(wrap: Any, tmp_path: Path) -> None:
    inside = SQLiteStorage[Any](tmp_path / "no folder" / "bot.db")
    with pytest.raises(ConfigurationError, match="does not exist"):
        async with wrap(inside):
            pass
    with pytest.raises(StorageClosedError):
        await inside.read("chat:1")


@every_wrapper
def test_its_name_tells_what_is_inside_and_no_secret(wrap: Any) -> None:
    assert repr(wrap(MemoryStorage())).startswith(f"<{type(wrap(MemoryStorage())).__name__} <MemoryStorage memory://>")


@every_wrapper
def test_what_is_no_storage_is_refused(wrap: Any) -> None:
    with pytest.raises(ConfigurationError, match="int is no storage"):
        wrap(7)


@every_wrapper
def test_other_attributes_of_the_storage_inside_are_not_reached_through_it(wrap: Any) -> None:
    wrapper = wrap(MemoryStorage())
    assert not hasattr(wrapper, "version_of")
    assert wrapper.inner.version_of(b"")


def test_no_method_of_a_protocol_is_forgotten() -> None:
    for wrap in WRAPPERS.values():
        wrapper = wrap(MemoryStorage())
        for kind in PROTOCOLS:
            for name, _ in inspect.getmembers(kind, inspect.isfunction):
                if not name.startswith("_") or name in ("__aenter__", "__aexit__"):
                    assert not isinstance(wrapper, EncodedStorage)
                    assert callable(getattr(wrapper, name)), f"{wrapper!r} has no {name}"


@pytest.mark.parametrize("name", sorted(WRAPPERS.keys() - {"ReadOnly"}))
async def test_sessions_and_leases_work_through_it(name: str, tmp_path: Path) -> None:
    storage = WRAPPERS[name](SQLiteStorage(tmp_path / "bot.db"))
    async with storage:
        sessions = Sessions(storage, initial=lambda: {"n": 0}, lock=LeaseLock(storage))
        for _ in range(3):
            async with sessions.open("chat:1") as session:
                session.data["n"] += 1
        unlocked = Sessions(storage, initial=dict, lock=False)
        async with unlocked.open("chat:1") as one, unlocked.open("chat:1") as two:
            one.data["one"] = 1
            two.data["two"] = 2
        assert await sessions.read("chat:1") == {"n": 3, "one": 1, "two": 2}
        raising = Sessions(storage, initial=dict, lock=False, on_conflict="raise")
        with pytest.raises(ConflictError):
            async with raising.open("chat:1") as one, raising.open("chat:1") as two:
                one.data["one"] = 3
                two.data["two"] = 3


async def test_wrappers_stand_around_wrappers() -> None:
    storage = Telemetry(Cached(Retrying(HiddenKeys(MemoryStorage(), generate_key()))))
    version = await storage.write_versioned("chat:1", {"n": 1}, None)
    await storage.write_versioned("chat:1", {"n": 2}, version)
    assert [key async for key in storage.keys("chat")] == ["chat:1"]
    assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": {"n": 2}}


@pytest.mark.parametrize(
    ("library", "extra", "make"),
    [
        ("tenacity", "retry", lambda: Retrying(MemoryStorage())),
        ("opentelemetry", "telemetry", lambda: Telemetry(MemoryStorage())),
        ("cryptography.exceptions", "encryption", lambda: JSON.encrypted(generate_key())),
        ("cryptography.exceptions", "encryption", lambda: HiddenKeys(MemoryStorage(), generate_key())),
    ],
)
def test_without_its_library_the_error_names_the_extra(
    library: str, extra: str, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "satchel.encryption")
    with pytest.raises(ConfigurationError, match=rf'pip install "satchel\[{extra}\]"'):
        make()


def test_importing_wrappers_needs_no_library() -> None:
    script = "import sys, satchel.wrappers; print(*{'tenacity', 'opentelemetry', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


async def test_what_the_storage_inside_finds_out_at_its_first_call_is_known_afterwards() -> None:
    wrapper: Any = Cached(LateToKnow())
    await wrapper.read("a")
    assert not isinstance(wrapper, Listing | Batch)
