"""The base class of adapters: what it makes of a few hooks over bytes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from satchel import (
    ANY,
    Batch,
    Capabilities,
    Change,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    EncodedStorage,
    Expected,
    Expiring,
    Listing,
    MemoryStorage,
    Payload,
    StorageAdapter,
    StorageClosedError,
    StorageError,
    StorageUnavailableError,
    Transactional,
    ValueTooLargeError,
    Versioned,
)


class Shelf(EncodedStorage[Any]):
    """The least that is an adapter, on a dict; its driver can be made to fail."""

    capabilities = Capabilities(versioned=True, max_value_bytes=20)

    def __init__(self, **options: Any) -> None:
        super().__init__(where="shelf://here", **options)
        self.records: dict[str, Payload] = {}
        self.events: list[str] = []
        self.fails: Exception | None = None
        self.hangs = False

    async def open(self) -> None:
        self.events.append("open")
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        self._fail()

    async def close(self) -> None:
        self.events.append("close")

    async def get(self, name: str) -> Payload | None:
        self._fail()
        if self.hangs:
            await asyncio.Event().wait()
        return self.records.get(name)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self._fail()
        old = self.records.get(name)
        if expected is not ANY and (None if old is None else self.version_of(old)) != expected:
            return None
        self.records[name] = payload
        return self.version_of(payload)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self._fail()
        return self.records.pop(name, None) is not None

    def translate(self, error: Exception) -> StorageError | None:
        return StorageUnavailableError("shelf://here is down") if isinstance(error, ConnectionError) else None

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


def test_the_protocols_of_a_storage_are_those_that_it_declares() -> None:
    shelf, memory = Shelf(), MemoryStorage[Any]()
    assert isinstance(shelf, StorageAdapter)
    assert isinstance(shelf, Versioned)
    assert not isinstance(shelf, Expiring)
    assert not isinstance(shelf, Listing)
    assert not isinstance(shelf, Batch)
    assert all(isinstance(memory, protocol) for protocol in (StorageAdapter, Versioned, Expiring, Listing, Batch))


async def test_a_storage_opens_once_on_first_use_even_by_many_tasks() -> None:
    shelf = Shelf()
    assert shelf.events == []
    await asyncio.gather(*(shelf.read(f"chat:{number}") for number in range(10)))
    await shelf.setup()
    assert shelf.events == ["open"]


async def test_a_storage_that_could_not_be_opened_is_opened_at_the_next_call() -> None:
    shelf = Shelf()
    shelf.fails = ConnectionError()
    with pytest.raises(StorageUnavailableError, match="shelf://here is down"):
        await shelf.read("chat:1")
    shelf.fails = None
    assert await shelf.read("chat:1") is None
    assert shelf.events == ["open", "open"]


async def test_a_storage_that_cannot_be_entered_is_closed() -> None:
    shelf = Shelf()
    shelf.fails = ConnectionError()
    with pytest.raises(StorageUnavailableError):
        async with shelf:
            raise AssertionError
    assert shelf.events == ["open", "close"]


async def test_closing_is_done_once_and_everything_after_it_raises() -> None:
    async with Shelf() as shelf:
        await shelf.write("chat:1", 1)
    await shelf.aclose()
    assert shelf.events == ["open", "close"]
    for call in (shelf.read("chat:1"), shelf.write("chat:1", 1), shelf.delete("chat:1"), shelf.setup()):
        with pytest.raises(StorageClosedError, match="shelf://here"):
            await call


async def test_a_storage_that_was_never_used_has_nothing_to_close() -> None:
    shelf = Shelf()
    await shelf.aclose()
    assert shelf.events == []


async def test_the_errors_of_the_driver_become_ours_with_the_cause() -> None:
    shelf = Shelf()
    await shelf.setup()
    for error, kind in (
        (ConnectionError("to hunter2@host"), StorageUnavailableError),
        (RuntimeError("hunter2"), StorageError),
    ):
        shelf.fails = error
        for call in (shelf.read("a"), shelf.write("a", 1), shelf.delete("a"), shelf.write_versioned("a", 1, None)):
            with pytest.raises(StorageError, match="shelf://here") as caught:
                await call
            assert type(caught.value) is kind
            assert caught.value.__cause__ is error
            assert "hunter2" not in str(caught.value)


async def test_a_backend_that_is_lost_and_comes_back_is_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    await shelf.setup()
    with caplog.at_level(logging.WARNING, "satchel"):
        for fails in (ConnectionError("hunter2"), ConnectionError(), None, None):
            shelf.fails = fails
            await asyncio.gather(shelf.read("chat:1"), return_exceptions=True)
    assert [record.getMessage() for record in caplog.records] == [
        "lost: shelf://here is down",
        "back: shelf://here",
    ]


async def test_no_call_takes_longer_than_the_timeout() -> None:
    shelf = Shelf(timeout=timedelta(milliseconds=20))
    shelf.hangs = True
    with pytest.raises(StorageUnavailableError, match=r"shelf://here did not answer within 0\.02 s"):
        await shelf.read("chat:1")
    shelf.hangs = False
    assert await shelf.read("chat:1") is None


async def test_many_first_calls_to_a_dead_server_all_end_within_one_timeout() -> None:
    shelf = Shelf(timeout=timedelta(milliseconds=50))
    shelf.hangs = True
    start = asyncio.get_running_loop().time()
    calls = [shelf.read(f"chat:{number}") for number in range(100)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in ended} == {StorageUnavailableError}
    assert asyncio.get_running_loop().time() - start < 1  # one after the other they would take five seconds
    shelf.hangs = False
    assert await shelf.read("chat:1") is None


async def test_a_value_over_the_limit_is_refused_with_both_sizes_and_the_old_one_stays() -> None:
    shelf = Shelf()
    await shelf.write("chat:1", "x" * 18)
    with pytest.raises(ValueTooLargeError, match="21 bytes; shelf://here takes 20") as caught:
        await shelf.write("chat:1", "x" * 19)
    assert (caught.value.size, caught.value.limit) == (21, 20)
    assert await shelf.read("chat:1") == "x" * 18


async def test_what_cannot_be_decoded_raises_with_its_key_and_stays() -> None:
    shelf = Shelf()
    shelf.records["satchel:chat:1"] = b'{"secret'
    with pytest.raises(CorruptValueError, match="'chat:1' in shelf://here is not JSON") as caught:
        await shelf.read("chat:1")
    assert "secret" not in str(caught.value)
    assert shelf.records["satchel:chat:1"] == b'{"secret'


@pytest.mark.parametrize("namespace", ["", "n" * 129, "\ud800", None, 7])
def test_a_bad_namespace_is_refused(namespace: Any) -> None:
    with pytest.raises(ConfigurationError, match="namespace"):
        Shelf(namespace=namespace)


async def test_names_are_printable_and_different_for_different_namespaces_and_keys() -> None:
    records: dict[str, Payload] = {}
    pairs = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a", "b%3Ac"), ("a", "b\0c"), ("a", "b%00c"), ("A", "b:c")]
    for namespace, key in pairs:
        shelf = Shelf(namespace=namespace)
        shelf.records = records
        await shelf.write(key, 1)
    assert len(records) == len(pairs)
    assert all(name.isprintable() for name in records)


def test_a_storage_bound_to_its_loop_says_so_on_another() -> None:
    class Bound(Shelf):
        loop_bound = True

    bound = Bound()
    asyncio.run(bound.read("chat:1"))
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(bound.read("chat:1"))
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(bound.aclose())

    free = Shelf()
    asyncio.run(free.read("chat:1"))
    assert asyncio.run(free.read("chat:1")) is None


async def test_an_iteration_that_is_abandoned_ends_its_listing() -> None:
    ended = asyncio.Event()

    class Endless(Shelf):
        capabilities = Capabilities(listing=True)

        async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
            try:
                while True:
                    yield [prefix + "a"]
            finally:
                ended.set()

    keys = Endless().keys()
    assert await anext(keys) == "a"
    await keys.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()


async def test_one_storage_may_lack_what_its_class_declares() -> None:
    storage, other = MemoryStorage[Any](), MemoryStorage[Any]()

    storage.lacks(atomic_batch=False, transactional=False)

    assert [isinstance(one, Transactional) for one in (storage, other)] == [False, True]
    assert not storage.capabilities.transactional
    assert repr(storage) == repr(other)
    await storage.write("chat:1", 1)
    assert await storage.read("chat:1") == 1


async def test_an_adapter_that_knows_which_record_of_a_commit_conflicts_names_its_key() -> None:
    class Told(MemoryStorage[Any]):
        async def put_records(self, changes: Mapping[str, tuple[bytes | None, str | None]]) -> dict[str, str] | None:
            raise self.conflict(list(changes)[-1])

    with pytest.raises(ConflictError, match=r"^'chat:\\n2' is not at the expected version in memory:"):
        await Told().commit({"chat:1": Change(1, None), "chat:\n2": Change(1, None)})
