"""Scopes for blocking callers."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import satchel.scopes
from satchel.blocking.loop import Block, run
from satchel.blocking.sessions import Around, Sessions, checked
from satchel.blocking.storage import Storage
from satchel.containers import Address
from satchel.scopes import Scope as AsyncScope

if TYPE_CHECKING:
    from satchel.dialogs import Private


class Scope:
    """What a bot knows in one turn; see `satchel.scopes.Scope`."""

    def __init__(self, scope: AsyncScope) -> None:
        self._scope = scope

    @property
    def address(self) -> Address:
        """Whose turn it is."""
        return self._scope.address

    @property
    def user_data(self) -> dict[str, Any]:
        """What is known of the user on this channel, in any conversation."""
        return self._scope.user_data

    @user_data.setter
    def user_data(self, data: dict[str, Any]) -> None:
        self._scope.user_data = data

    @property
    def conversation_data(self) -> dict[str, Any]:
        """What is known of the conversation, shared by its users."""
        return self._scope.conversation_data

    @conversation_data.setter
    def conversation_data(self, data: dict[str, Any]) -> None:
        self._scope.conversation_data = data

    @property
    def private_conversation_data(self) -> dict[str, Any]:
        """What is known of the user in this conversation; always persisted."""
        return self._scope.private_conversation_data

    @private_conversation_data.setter
    def private_conversation_data(self, data: dict[str, Any]) -> None:
        self._scope.private_conversation_data = data

    @property
    def dialog_data(self) -> dict[str, Any]:
        """The data of the dialog on top of the stack; it goes when the dialog ends."""
        return self._scope.dialog_data

    @dialog_data.setter
    def dialog_data(self, data: dict[str, Any]) -> None:
        self._scope.dialog_data = data

    @property
    def dialog(self) -> str | None:
        """The name of the dialog on top of the stack, or None."""
        return self._scope.dialog

    @property
    def dialogs(self) -> tuple[str, ...]:
        """The names of the dialogs on the stack, the one that began first at first."""
        return self._scope.dialogs

    def begin_dialog(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Put a dialog on top of the stack; the one below keeps its data until this one ends."""
        self._scope.begin_dialog(name, data)

    def replace_dialog(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """End the dialog on top, if there is one, and begin another in its place."""
        self._scope.replace_dialog(name, data)

    def end_dialog(self) -> str | None:
        """Take the dialog on top off the stack, with its data, and return the name of the one that is on top then."""
        return self._scope.end_dialog()

    def end_conversation(self) -> None:
        """Clear what is known of the conversation, of the user in it, and of its dialogs. What is the user's stays."""
        self._scope.end_conversation()

    def save(self) -> None:
        """Save now what has changed, and go on."""
        run(self._scope.save())


class Scopes:
    """What a bot knows of its users and conversations, for blocking callers: threads take turns at a container.

    Args:
        storage: a blocking storage.
        options: those of `satchel.scopes.Scopes`; a `channel` function may be async, too.

    Attributes:
        wrapped: the asynchronous scopes; use them here only.
        user: the sessions of users, by `Address`: to read, delete or rename one.
        conversation: those of conversations.
        private: those of users in conversations.
    """

    def __init__(self, storage: Storage[Any], **options: Any) -> None:
        self.wrapped = satchel.scopes.Scopes(checked(storage, "Scopes").wrapped, **options)
        self.user: Sessions[Any] = Around(self.wrapped.user)
        self.conversation: Sessions[Any] = Around(self.wrapped.conversation)
        self.private: Sessions[Private] = Around(self.wrapped.private)
        everything = {"user": self.user, "conversation": self.conversation, "private": self.private}
        self._parts: list[Sessions[Any]] = [everything[name] for name in sorted(self.wrapped.persisted)]

    @contextmanager
    def open(self, update: object) -> Iterator[Scope]:
        """Load the containers of an update, or of an `Address`; at the end of the block, save those that changed.

        Nothing is saved if the block raises.

        Raises:
            SessionAlreadyOpenError: this thread has one of them open.
        """
        thread = threading.get_ident()
        keys: list[str | None] = []

        async def made() -> AbstractAsyncContextManager[AsyncScope]:
            address = await self.wrapped.address_of(update)
            for sessions in self._parts:
                keys.append((await sessions.wrapped.strict(address)).key)
                sessions.need_free(keys[-1], thread)
            return self.wrapped.open(address)

        with Block(made) as scope, ExitStack() as stack:
            for sessions, key in zip(self._parts, keys, strict=True):
                stack.enter_context(sessions.held(key))
            yield Scope(scope)

    def address_of(self, update: object) -> Address:
        """Return whose turn an update is."""
        return run(self.wrapped.address_of(update))
