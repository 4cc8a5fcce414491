"""Where what a bot knows lies: the keys of an address, and sessions that are not stored while they are empty."""

from typing import Final, NamedTuple, TypeVar

from satchel.backing import Entry
from satchel.codecs import JSON
from satchel.keys import session_key
from satchel.session import Pending, Session
from satchel.sessions import Sessions

_EMPTY: Final = JSON.encode({})
C = TypeVar("C")


class Address(NamedTuple):
    """Whose turn it is, and where.

    Attributes:
        channel: the platform, such as "telegram". It is part of every key: users of two platforms may have one id.
        user: the id of the user on that platform; None, as for a post in a channel, and there are no data of a user.
        conversation: the id of the conversation; None, as for an inline query, and there are no data of one.
    """

    channel: str
    user: str | int | None = None
    conversation: str | int | None = None

    @property
    def user_key(self) -> str | None:
        """The session key of the user's data: `telegram:user:7`."""
        return None if self.user is None else session_key(self.channel, "user", self.user)

    @property
    def conversation_key(self) -> str | None:
        """The session key of the conversation's data: `telegram:conversation:42`."""
        return None if self.conversation is None else session_key(self.channel, "conversation", self.conversation)

    @property
    def private_key(self) -> str | None:
        """The session key of the user's data in the conversation: `telegram:conversation:42:user:7`."""
        if self.user is None or self.conversation is None:
            return None
        return session_key(self.channel, "conversation", self.conversation, "user", self.user)


class Container(Session[C]):
    """A session that is not stored while it is empty: to clear it is to remove it, and absent is empty."""

    def pending(self) -> Pending[C] | None:
        found = super().pending()
        if found is None or found.encoded != _EMPTY:
            return found
        return None if self._version is None else found._replace(stored=None, envelope=None)

    def _written(self, theirs: Entry[C] | None) -> bytes:
        return _EMPTY if theirs is None else super()._written(theirs)


class Containers(Sessions[C]):
    """Sessions of that kind."""

    async def strict(self, update: object) -> Session[C]:
        return Container(self._backing, await self._find_key(update), self._on_conflict, self._seconds)
