"""Groups of sessions: several parts for one update, each with its own key, storage and lifetime."""

import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from satchel.errors import ConfigurationError, ConflictError, SessionError
from satchel.keys import show
from satchel.session import LazySession, Pending, Session
from satchel.sessions import Sessions
from satchel.settling import together
from satchel.storage import Batch, Change, Record, Transactional, Versioned, VersionedBatch

_OURS = ("data", "delete", "keys", "save")


class Parts:
    """The sessions of one update, by name: `parts.user.data["pizza"] += 1`.

    `parts.data` is all of it as a dict; assigning a dict assigns the parts that it names, where None deletes one, and
    assigning None deletes all. Parts whose key is None are left out of it.
    """

    def __init__(self, sessions: Mapping[str, Session[Any]]) -> None:
        self._sessions = dict(sessions)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._sessions[name]
        except KeyError:
            raise AttributeError(f"the group has no part {name!r}; it has {', '.join(self._sessions)}") from None

    def __getitem__(self, name: str) -> Session[Any]:
        """Return the session of a part."""
        return self._sessions[name]

    @property
    def keys(self) -> dict[str, str | None]:
        """The session key of each part."""
        return {name: session.key for name, session in self._sessions.items()}

    @property
    def data(self) -> dict[str, Any]:
        """The data of all parts that have a key.

        Raises:
            EmptySessionError: nothing is stored in one, and it has no `initial`.
        """
        return {name: session.data for name, session in self._sessions.items() if session.key is not None}

    @data.setter
    def data(self, values: Mapping[str, Any] | None) -> None:
        if values is None:
            self.delete()
            return
        what = type(values).__name__
        if isinstance(values, Mapping):
            what = ", ".join(name for name in values if name not in self._sessions)
        if what:
            raise SessionError(f"the data of a group is a dict of its parts {', '.join(self._sessions)}, not {what}")
        for name, value in values.items():
            self._sessions[name].data = value

    def delete(self) -> None:
        """Remove every part that has a key, at the end of the block."""
        for session in self._sessions.values():
            if session.key is not None:
                session.delete()

    async def save(self) -> None:
        """Save now what has changed, and go on. What is saved stays saved if the block raises later."""
        await _save(self._sessions)


class SessionGroup:
    """Several `Sessions` for one update.

        group = SessionGroup(
            user=Sessions(storage, key=per_user, initial=dict),
            chat=Sessions(storage, key=per_chat, initial=dict),
        )

        async with group.open(update) as parts:
            parts.chat.data["last"] = parts.user.data["name"]

    Parts that lie in one storage are loaded in one round trip and saved in another, be they two or ten, where the
    storage can. What is atomic is said by the storage:

    - `Transactional`: all parts in it are saved, or none; but those that are saved whatever is there are saved each by
      itself, as what is assigned to a lazy part unread, or with `on_conflict="overwrite"`.
    - `VersionedBatch`: each part is saved by itself. One that is in conflict is merged and saved again, or raises
      `ConflictError`, as its `on_conflict` says; the parts that were not in conflict stay saved.
    - any other: parts are loaded and saved in a round trip each, side by side. Where saving one fails, the others stay
      saved.

    Two storages are never saved together; where the second fails, what lies in the first stays saved. An update that
    has no key for one part has the others.

    Raises:
        ConfigurationError: there is no part, or one is no `Sessions`, or has a name that the group needs itself.
    """

    def __init__(self, **parts: Sessions[Any]) -> None:
        if not parts:
            raise ConfigurationError("a group has at least one part: SessionGroup(user=Sessions(…))")
        for name, sessions in parts.items():
            if not isinstance(sessions, Sessions):
                raise ConfigurationError(f"part {name} of a group is Sessions, not {type(sessions).__name__}")
            if name in _OURS or name.startswith("_"):
                raise ConfigurationError(f"a part of a group cannot be called {name}")
        self._parts = parts

    @asynccontextmanager
    async def open(self, update: object) -> AsyncIterator[Parts]:
        """Load every part; at the end of the block, save what changed. Nothing if the block raises.

        For an update one may give a dict with the key of each part: `{"user": "user:7", "chat": "chat:42"}`.

        Raises:
            SessionError: two parts have one key in one storage.
        """
        sessions = {name: await part.strict(key_for(name, update, self._parts)) for name, part in self._parts.items()}
        _keep_apart(sessions)
        async with AsyncExitStack() as stack:
            # In one order, whatever the group, so that no two updates wait for each other.
            for name in sorted(sessions, key=lambda name: _place(sessions[name], self._parts[name])):
                session = sessions[name]
                if session.key is not None:
                    session.take(await stack.enter_async_context(self._parts[name].lock.hold(session.key)))
            await _load([session for session in sessions.values() if session.key is not None])
            try:
                yield Parts(sessions)
                await _save(sessions)
            finally:
                for session in sessions.values():
                    session.close()

    @asynccontextmanager
    async def lazy(self, update: object) -> AsyncIterator[Parts]:
        """Open every part without reading it: `data = await parts.user` does, when it is asked for."""
        sessions = {name: await part.unread(key_for(name, update, self._parts)) for name, part in self._parts.items()}
        _keep_apart(sessions)
        try:
            yield Parts(sessions)
            await _save(sessions)
        finally:
            async with AsyncExitStack() as stack:
                for session in sessions.values():
                    stack.push_async_callback(session.aclose)


def key_for(name: str, update: object, parts: Collection[str]) -> object:
    """Return what tells a part's key: its own, in a dict of nothing but keys of `parts`, or the update."""
    if isinstance(update, str):
        raise SessionError(f"one key is not enough for a group: give it a dict of keys, {{{name!r}: …}}, or an update")
    if type(update) is dict and update.keys() <= set(parts) and isinstance(update.get(name), str):
        return update[name]
    return update


def _place(session: Session[Any], part: Sessions[Any]) -> tuple[str, str, int]:
    """Return what parts are locked in the order of, in all processes as far as they have different storages."""
    return session.key or "", repr(session.storage), id(part.lock)


def _keep_apart(sessions: Mapping[str, Session[Any]]) -> None:
    seen: dict[tuple[int, str], str] = {}
    for name, session in sessions.items():
        if session.key is not None:
            other = seen.setdefault((id(session.storage), session.key), name)
            if other != name:
                raise SessionError(
                    f"parts {other} and {name} are both {show(session.key)} in one storage: give one a prefix="
                )


def _by_storage(sessions: Iterable[Session[Any]]) -> Iterable[list[Session[Any]]]:
    """Group the sessions by storage."""
    found: dict[int, list[Session[Any]]] = {}
    for session in sessions:
        found.setdefault(id(session.storage), []).append(session)
    return found.values()


async def _load(sessions: Iterable[Session[Any]]) -> None:
    for ours in _by_storage(sessions):
        storage = ours[0].storage
        if len(ours) > 1 and isinstance(storage, Transactional | VersionedBatch):
            records = await storage.read_records([session.key for session in ours if session.key is not None])
            for session in ours:
                await session.receive(records.get(session.key or ""))
        elif len(ours) > 1 and isinstance(storage, Batch) and not isinstance(storage, Versioned):
            values = await storage.read_many([session.key for session in ours if session.key is not None])
            for session in ours:
                value = values.get(session.key or "")
                await session.receive(None if value is None else Record(value, ""))
        else:
            await together(session.load() for session in ours)


async def _save(sessions: Mapping[str, Session[Any]]) -> None:
    for name in sorted(sessions):
        session = sessions[name]
        if isinstance(session, LazySession):
            await session.prepare()
    for ours in _by_storage(sessions[name] for name in sorted(sessions) if sessions[name].key is not None):
        storage = ours[0].storage
        # What is saved together is saved at versions, so what is written whatever is there goes alone.
        exact = [session for session in ours if session.is_exact]
        if len(exact) > 1 and isinstance(storage, Transactional):
            await _commit(storage, exact)
        elif len(exact) > 1 and isinstance(storage, VersionedBatch):
            await _write(storage, exact)
        else:
            exact = []
        await together(session.commit() for session in ours if session not in exact)


async def _commit(storage: Transactional[Any], sessions: list[Session[Any]]) -> None:
    """Save the sessions of one storage, all of them or none."""
    deadline = time.monotonic() + min(session.seconds for session in sessions)
    while True:
        pending = _pending(sessions)
        if len(pending) < 2:
            for session in sessions:
                await session.commit()
            return
        try:
            versions = await storage.commit(_changes(pending))
        except ConflictError as conflict:
            if time.monotonic() >= deadline:
                raise
            records = await storage.read_records(pending)
            for key, (session, found) in pending.items():
                record = records.get(key)
                if (record and record.version) != found.expected:
                    await session.meet(record, conflict)
        else:
            for key, (session, found) in pending.items():
                session.settle(found, versions.get(key, ""))
            for session in sessions:
                if session.key not in pending:
                    await session.rest()
            return


async def _write(storage: VersionedBatch[Any], sessions: list[Session[Any]]) -> None:
    """Save the sessions of one storage, each by itself: those in conflict again, until none is or it takes too long."""
    deadline = time.monotonic() + min(session.seconds for session in sessions)
    while True:
        pending = _pending(sessions)
        if len(pending) < 2:
            for session in sessions:
                await session.commit()
            return
        versions = await storage.write_records(_changes(pending))
        for key, version in versions.items():
            session, found = pending[key]
            session.settle(found, version)
        for session in sessions:
            if session.key not in pending:
                await session.rest()
        sessions = [session for key, (session, _) in pending.items() if key not in versions]
        if not sessions:
            return
        records = await storage.read_records([session.key or "" for session in sessions])
        for session in sessions:
            conflict = ConflictError(f"session {show(session.key or '')} was changed by somebody else")
            if time.monotonic() >= deadline:
                raise conflict
            await session.meet(records.get(session.key or ""), conflict)


def _pending(sessions: Iterable[Session[Any]]) -> dict[str, tuple[Session[Any], Pending[Any]]]:
    """Return the sessions that there is something to save of, by key, and what."""
    return {session.key or "": (session, found) for session in sessions if (found := session.pending())}


def _changes(pending: Mapping[str, tuple[Session[Any], Pending[Any]]]) -> dict[str, Change[Any]]:
    return {key: Change(found.stored, cast("str | None", found.expected)) for key, (_, found) in pending.items()}
