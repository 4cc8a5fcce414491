"""Scopes: the four containers of Bot Builder, for what a bot knows of a user, a conversation, both, and a dialog."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from satchel.backing import OnConflict
from satchel.containers import Address, Containers
from satchel.dialogs import Dialog, Private, PrivateCodec
from satchel.errors import SessionError
from satchel.groups import Parts, SessionGroup
from satchel.keys import chat_of, session_key, user_of
from satchel.locks import Lock
from satchel.settling import settled
from satchel.storage import StorageAdapter

__all__ = ["Address", "Scope", "Scopes"]


class Scope:
    """What a bot knows in one turn. `Scopes.open` makes it, and saves it.

    Each container is a dict: change it in place, or assign a dict to it; assigning `{}` clears it, and removes what was
    stored.

    Attributes:
        address: whose turn it is.
    """

    def __init__(self, address: Address, parts: Parts, persisted: frozenset[str]) -> None:
        self.address = address
        self._parts = parts
        self._persisted = persisted
        self._passing: dict[str, dict[str, Any]] = {"user": {}, "conversation": {}}  # what is not persisted

    @property
    def user_data(self) -> dict[str, Any]:
        """What is known of the user on this channel, in any conversation.

        Raises:
            NoSessionError: the update has no user; so for the other containers, if they have no key.
        """
        return self._get("user")

    @user_data.setter
    def user_data(self, data: dict[str, Any]) -> None:
        self._set("user", data)

    @property
    def conversation_data(self) -> dict[str, Any]:
        """What is known of the conversation, shared by its users."""
        return self._get("conversation")

    @conversation_data.setter
    def conversation_data(self, data: dict[str, Any]) -> None:
        self._set("conversation", data)

    @property
    def private_conversation_data(self) -> dict[str, Any]:
        """What is known of the user in this conversation; always persisted."""
        return self._private.data

    @private_conversation_data.setter
    def private_conversation_data(self, data: dict[str, Any]) -> None:
        self._parts.private.data = Private(_checked(data), self._private.dialogs)

    @property
    def dialog_data(self) -> dict[str, Any]:
        """The data of the dialog on top of the stack; it goes when the dialog ends.

        Raises:
            SessionError: no dialog has begun.
        """
        return self._top().data

    @dialog_data.setter
    def dialog_data(self, data: dict[str, Any]) -> None:
        self._private.dialogs[-1:] = [self._top()._replace(data=_checked(data))]

    @property
    def dialog(self) -> str | None:
        """The name of the dialog on top of the stack, or None."""
        return self.dialogs[-1] if self.dialogs else None

    @property
    def dialogs(self) -> tuple[str, ...]:
        """The names of the dialogs on the stack, the one that began first at first."""
        return tuple(dialog.name for dialog in self._private.dialogs)

    def begin_dialog(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Put a dialog on top of the stack; the one below keeps its data until this one ends."""
        self._private.dialogs.append(_dialog(name, data))

    def replace_dialog(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """End the dialog on top, if there is one, and begin another in its place."""
        self._private.dialogs[-1:] = [_dialog(name, data)]

    def end_dialog(self) -> str | None:
        """Take the dialog on top off the stack, with its data, and return the name of the one that is on top then.

        Raises:
            SessionError: no dialog has begun.
        """
        self._top()
        self._private.dialogs.pop()
        return self.dialog

    def end_conversation(self) -> None:
        """Clear what is known of the conversation, of the user in it, and of its dialogs. What is the user's stays."""
        if self.address.conversation is not None:
            self.conversation_data = {}
        if self.address.private_key is not None:
            self._parts.private.data = Private({}, [])

    async def save(self) -> None:
        """Save now what has changed, and go on. What is saved stays saved if the block raises later."""
        await self._parts.save()

    @property
    def _private(self) -> Private:
        found: Private = self._parts.private.data
        return found

    def _top(self) -> Dialog:
        if not self._private.dialogs:
            raise SessionError("no dialog has begun")
        return self._private.dialogs[-1]

    def _get(self, name: str) -> dict[str, Any]:
        return _checked(self._parts[name].data) if name in self._persisted else self._passing[name]

    def _set(self, name: str, data: dict[str, Any]) -> None:
        if name in self._persisted:
            self._parts[name].data = _checked(data)
        else:
            self._passing[name] = _checked(data)


class Scopes:
    """What a bot knows of its users and conversations, on any number of channels, in one storage.

        scopes = Scopes(storage, channel="telegram")

        async with scopes.open(update) as scope:
            scope.user_data["name"] = "Ada"
            scope.conversation_data["topic"] = "pizza"

    The containers are parts of a `SessionGroup`, which says what is atomic: on a `Transactional` storage they are
    loaded in one round trip, and what changed is saved in another at the end of the block, all of it or nothing; on a
    `VersionedBatch` one likewise, but each by itself. Of one user in one conversation, private data and the dialog
    stack are one record.

    Args:
        storage: any storage.
        channel: the platform, or a function that finds it in an update, at once or awaited.
        persist_user_data: if not, what is known of users is neither read nor written, and lasts for one block.
        persist_conversation_data: the same for what is known of conversations. Private data are always persisted.
        on_conflict: as in `Sessions`; fields of one container are merged, the dialog stack is one field.
        lock: as in `Sessions`.
        timeout: as in `Sessions`.

    Raises:
        InvalidKeyError: the channel is no string, or empty.
        ConfigurationError: an option is not right.

    Attributes:
        persisted: the names of the containers that are stored: "private", and "user" and "conversation" unless not.
        user: the sessions of users, by `Address`: to read, delete or rename one.
        conversation: those of conversations.
        private: those of users in conversations.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        channel: str | Callable[[Any], str | Awaitable[str]],
        persist_user_data: bool = True,
        persist_conversation_data: bool = True,
        on_conflict: OnConflict = "merge",
        lock: Lock | bool = True,
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        if not callable(channel):
            session_key(channel)
        options: Any = {"on_conflict": on_conflict, "lock": lock, "timeout": timeout}
        self._channel = channel
        self.user = Containers[Any](storage, key=lambda at: at.user_key, initial=dict, **options)
        self.conversation = Containers[Any](storage, key=lambda at: at.conversation_key, initial=dict, **options)
        self.private = Containers[Private](
            storage, key=lambda at: at.private_key, initial=lambda: Private({}, []), codec=PrivateCodec(), **options
        )
        parts = {"private": self.private}
        if persist_user_data:
            parts["user"] = self.user
        if persist_conversation_data:
            parts["conversation"] = self.conversation
        self.persisted = frozenset(parts)
        self._group = SessionGroup(**parts)

    @asynccontextmanager
    async def open(self, update: object) -> AsyncIterator[Scope]:
        """Load the containers of an update, or of an `Address`; at the end of the block, save those that changed.

        Nothing is saved if the block raises.

        Raises:
            InvalidKeyError: the channel is empty, or an id is too long.
            StorageError: a container could not be loaded, or not saved; on a transactional storage all are as before.
            LockTimeoutError: another task kept one of them for longer than `timeout`.
            SessionAlreadyOpenError: this task has one of them open.
        """
        address = await self.address_of(update)
        async with self._group.open(address) as parts:
            yield Scope(address, parts, self.persisted)

    async def address_of(self, update: object) -> Address:
        """Return whose turn an update is: its user and chat are found as `per_user` and `per_chat` find them."""
        if isinstance(update, Address):
            return update
        channel = await settled(self._channel(update)) if callable(self._channel) else self._channel
        return Address(channel, user_of(update), chat_of(update))


def _dialog(name: str, data: Mapping[str, Any] | None) -> Dialog:
    if not isinstance(name, str) or not name:
        raise SessionError("a dialog has a name, which is a string and not empty")
    return Dialog(name, dict(data or {}))


def _checked(data: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise SessionError(f"a container is a dict, cleared by assigning {{}}, and not {type(data).__name__}")
    return data
