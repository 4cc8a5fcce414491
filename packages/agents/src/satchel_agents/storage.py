"""A storage as the Agents SDK knows storages: items that are read, changed during a turn, and written at its end."""

import time
from copy import deepcopy
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeVar
from weakref import ReferenceType, ref

from microsoft_agents.hosting.core import Storage, StoreItem

from satchel import JSON, ConfigurationError, ConflictError, Record, StorageAdapter, Versioned
from satchel.adapter import milliseconds
from satchel.keys import show
from satchel.merging import merge
from satchel.sessions import asynchronous
from satchel.settling import together

ItemT = TypeVar("ItemT", bound=StoreItem)


class _Seen(NamedTuple):
    """What an item was when it was read or written last.

    Attributes:
        key: where.
        base: what the item held, as JSON; None if it is new.
        record: what the storage held; None if nothing.
    """

    key: str
    base: bytes | None
    record: Record[Any] | None


class AgentStorage(Storage):
    """A record for each item. An item that was read is written over the version that was read.

        storage = AgentStorage(open_storage("postgresql://localhost/bot"))
        app = AgentApplication(ApplicationOptions(storage=storage), …)

    The SDK's items carry no eTag. So the storage itself remembers what each item was when it was read, for as long as
    there is the item: of two turns that change one conversation's state, both changes are kept if they are of different
    properties; else the later one raises, and reaches the application's error handler. That goes for the first write of
    a state, too. An item that was not read is written over whatever is there, and a delete is unconditional, as in the
    SDK's own storages.

    Args:
        storage: any storage of JSON; without versions, the last writer wins.
        on_conflict: "merge" combines the changes, and raises if they meet in one property; "raise" always raises;
            "overwrite" lets the last writer win.
        timeout: how long to try again when others write the same items.

    Raises:
        ConfigurationError: the storage is none, or a blocking one, or an option is not right.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        on_conflict: Literal["merge", "raise", "overwrite"] = "merge",
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        if not isinstance(storage, StorageAdapter):
            raise ConfigurationError(f"{type(storage).__name__} is no storage: it has no read, write and delete")
        if on_conflict not in ("merge", "raise", "overwrite"):
            raise ConfigurationError(f'on_conflict is {on_conflict!r}; it is one of "merge", "raise", "overwrite"')
        self._storage = asynchronous(storage)
        self._versioned = storage if isinstance(storage, Versioned) and on_conflict != "overwrite" else None
        self._is_merging = on_conflict == "merge"
        self._seconds = milliseconds("timeout", timeout) / 1000
        self._seen: dict[int, tuple[ReferenceType[StoreItem], _Seen]] = {}  # by id(): many items cannot be hashed

    async def read(self, keys: list[str], *, target_cls: type[ItemT], **kwargs: Any) -> dict[str, ItemT]:
        """Return the items that exist.

        Raises:
            ValueError: there are no keys.
            StorageError: they cannot be read; an outage never reads as absence.
        """
        distinct = _required(keys, "read", "keys")
        found = await together(self._load(key) for key in distinct)
        items = _Items[ItemT](self)
        for key, record in zip(distinct, found, strict=True):
            if record is not None:
                item = target_cls.from_json_to_store_item(deepcopy(record.value))  # most keep what they get
                items[key] = item  # type: ignore[assignment]
                self.note(item, _Seen(key, JSON.encode(item.store_item_to_json()), record))
        return items

    async def write(self, changes: dict[str, StoreItem]) -> None:
        """Write every item, each over what it was read from.

        Raises:
            ValueError: there are no changes.
            ConflictError: somebody else changed an item in between, and the changes cannot be combined. Other items of
                this call may have been written.
            StorageError: an item cannot be written.
        """
        _required(changes, "write", "changes")
        trees = {key: dict(item.store_item_to_json()) for key, item in changes.items()}
        for tree in trees.values():
            JSON.encode(tree)  # raises before anything is written
        await together(self._write(key, item, trees[key]) for key, item in changes.items())

    async def delete(self, keys: list[str]) -> None:
        """Remove items; absent ones are no error.

        Raises:
            ValueError: there are no keys.
        """
        await together(self._storage.delete(key) for key in _required(keys, "delete", "keys"))

    def note(self, item: StoreItem, seen: _Seen) -> None:
        """Remember what an item was, until it is gone."""
        if self._versioned is not None:
            number, all_seen = id(item), self._seen
            all_seen[number] = ref(item, lambda _: all_seen.pop(number, None)), seen

    async def _load(self, key: str) -> Record[Any] | None:
        if self._versioned is not None:
            return await self._versioned.read_versioned(key)
        value = await self._storage.read(key)
        return None if value is None else Record(value, "")

    async def _write(self, key: str, item: StoreItem, tree: dict[str, Any]) -> None:
        _, seen = self._seen.get(id(item), (None, None))
        if self._versioned is None or seen is None or seen.key != key:
            await self._storage.write(key, tree)
            return
        deadline = time.monotonic() + self._seconds
        mine, record = JSON.encode(tree), seen.record
        while True:
            value = self._combined(key, seen, tree, record)
            try:
                version = await self._versioned.write_versioned(key, value, record and record.version)
            except ConflictError:
                if not self._is_merging or time.monotonic() >= deadline:
                    raise
                record = await self._versioned.read_versioned(key)
            else:
                self.note(item, _Seen(key, mine, Record(deepcopy(value), version)))
                return

    def _combined(self, key: str, seen: _Seen, tree: dict[str, Any], record: Record[Any] | None) -> dict[str, Any]:
        """Return the item's changes on top of what the storage holds."""
        if record is None and seen.record is not None:
            raise ConflictError(f"{show(key)} was deleted by somebody else")
        if record is None or JSON.encode(record.value) == seen.base:
            return tree
        try:
            merged: dict[str, Any] = merge(JSON.decode(seen.base or b"{}"), tree, record.value)
        except ConflictError as error:
            raise ConflictError(f"{show(key)} {error}") from None
        return merged


class _Items(dict[str, ItemT]):
    """What was read. A default that is taken for an absent item is new: it is only written where there is none yet."""

    def __init__(self, storage: AgentStorage) -> None:
        super().__init__()
        self._storage = storage

    def get(self, key: str, default: Any = None) -> Any:
        """Return the item, or the default."""
        if key not in self and isinstance(default, StoreItem):
            self._storage.note(default, _Seen(key, None, None))
        return super().get(key, default)


def _required(given: Any, method: str, what: str) -> list[str]:
    if not given:
        raise ValueError(f"AgentStorage.{method}(): {what} are required")
    return list(dict.fromkeys(given))
