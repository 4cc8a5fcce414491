"""The states and data of aiogram: one record for both, its key, and where aiogram's Redis storage keeps the two.

A record is `{"state": "Form:name", "data": {"age": 7}}`, with None for no state and `{}` for no data; what has neither
is no record. Its key is `Conversation.key()`. Both hold for whatever of ours keeps what aiogram hands over.

aiogram itself keeps two strings, the state as it is and the data as JSON, under names that its `DefaultKeyBuilder`
makes: `<prefix>:<bot>?:<business connection>?:<chat>:<thread>?:<user>:<destiny>?:<"state" or "data">` (aiogram 3.31,
aiogram/fsm/storage/base.py).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, TypedDict

from satchel.adapter import Payload
from satchel.codecs import JSON
from satchel.errors import ConfigurationError, CorruptValueError, InvalidKeyError
from satchel.foreign.storage import ForeignStorage
from satchel.keys import session_key, show, unescape
from satchel.urls import boolean

DEFAULT_DESTINY: Final = "default"

_ID: Final = r"-?[0-9]{1,20}"
_KEY: Final = re.compile(
    rf"aiogram(:bot:(?P<bot_id>{_ID}))?:chat:(?P<chat_id>{_ID})(:thread:(?P<thread_id>{_ID}))?:user:(?P<user_id>{_ID})"
    r"(:business:(?P<business_connection_id>[^:]+))?(:destiny:(?P<destiny>[^:]+))?"
)
_NUMBERS: Final = frozenset(("bot_id", "chat_id", "thread_id", "user_id"))


class Stored(TypedDict):
    """What a conversation's record is."""

    state: str | None
    data: dict[str, Any]


class Conversation(NamedTuple):
    """What aiogram keeps a state and data for: the fields of its `StorageKey`.

    Attributes:
        chat_id: the chat's; the user's where aiogram's strategy is one record for each user.
        user_id: the user's; the chat's where the strategy is one record for each chat.
        bot_id: the bot's, or None where several bots share no storage.
        thread_id: the topic's in a forum, or None.
        business_connection_id: of the connection that a business account has with the bot, or None.
        destiny: what for, where a bot keeps several.
    """

    chat_id: int
    user_id: int
    bot_id: int | None = None
    thread_id: int | None = None
    business_connection_id: str | None = None
    destiny: str = DEFAULT_DESTINY

    def key(self) -> str:
        """Return the session key: `aiogram:chat:-100:user:42`, with what else there is in its place.

            aiogram:bot:1:chat:-100:thread:5:user:42:business:abc:destiny:menu

        Raises:
            InvalidKeyError: a part is empty, or all of it is too long.
        """
        destiny = None if self.destiny == DEFAULT_DESTINY else self.destiny
        parts: list[tuple[str, str | int | None]] = [
            ("bot", self.bot_id),
            ("chat", self.chat_id),
            ("thread", self.thread_id),
            ("user", self.user_id),
            ("business", self.business_connection_id),
            ("destiny", destiny),
        ]
        said = [part for name, found in parts if found is not None for part in (name, found)]
        return session_key("aiogram", *said)

    @classmethod
    def of(cls, key: str) -> "Conversation | None":
        """Return what `key()` returned this key for, or None if it did not."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        conversation = _conversation({name: unescape(part) for name, part in found.groupdict().items() if part})
        try:
            return conversation if conversation.key() == key else None
        except InvalidKeyError:
            return None


class Aiogram(ForeignStorage):
    """States and data as aiogram's `RedisStorage` writes them. An adapter of ours stands behind this class.

    Args:
        source: the adapter's first argument: a URL or a client.
        prefix: as the bot gives it to `DefaultKeyBuilder`, which is true of all that follow.
        separator: between the parts; it is not empty and has no digit.
        with_bot_id: whether names have the bot's id.
        with_business_connection_id: whether they may have that of a business connection.
        with_destiny: whether they have a destiny.
        options: the adapter's.
    """

    framework = "aiogram"
    said_in_urls: ClassVar = {
        "prefix": str,
        "separator": str,
        "with_bot_id": boolean,
        "with_business_connection_id": boolean,
        "with_destiny": boolean,
    }

    def __init__(
        self,
        source: Any,
        *,
        prefix: str = "fsm",
        separator: str = ":",
        with_bot_id: bool = False,
        with_business_connection_id: bool = False,
        with_destiny: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix is {prefix!r}; it is a string")
        if not isinstance(separator, str) or not separator or re.search("[0-9]", separator):
            raise ConfigurationError(f"separator is {separator!r}; it is a string that is not empty and has no digit")
        self.start = f"{prefix}{separator}"
        self._separator = separator
        self._with_bot_id = with_bot_id
        self._with_business_connection_id = with_business_connection_id
        self._with_destiny = with_destiny
        between = re.escape(separator)
        self._pattern = re.compile(
            (rf"(?P<bot_id>{_ID}){between}" if with_bot_id else "")
            # Telegram's are no numbers; aiogram leaves out one that is empty.
            + (rf"((?!{_ID}{between})(?P<business_connection_id>.+?){between})?" if with_business_connection_id else "")
            + rf"(?P<chat_id>{_ID}){between}((?P<thread_id>{_ID}){between})?(?P<user_id>{_ID}){between}"
            + (rf"(?P<destiny>.*){between}" if with_destiny else "")
            + "(?P<part>state|data|lock)",
            re.DOTALL,
        )
        super().__init__(source, **options)

    def names(self, key: str) -> Sequence[str]:
        """That of the state, and that of the data."""
        conversation = Conversation.of(key)
        if (
            conversation is None
            or (conversation.bot_id is not None) != self._with_bot_id
            or (conversation.business_connection_id is not None and not self._with_business_connection_id)
            or (conversation.destiny != DEFAULT_DESTINY and not self._with_destiny)
        ):
            return ()
        return self._named(conversation)

    def key(self, name: str) -> str | None:
        """Read a name, which is a state's, data's, or that of a lock, which is no record."""
        found = self._pattern.fullmatch(name, len(self.start))
        if found is None:
            raise InvalidKeyError(f"{show(name)} is not a name that aiogram gives")
        said = found.groupdict()
        if said.pop("part") == "lock":
            return None
        conversation = _conversation({name: part for name, part in said.items() if part})
        if name not in self._named(conversation):
            raise InvalidKeyError(f"{show(name)} is not a name that aiogram gives")
        return conversation.key()

    def value(self, found: Mapping[str, Payload], names: Sequence[str]) -> Any:
        """Join a state and data to one record."""
        state, data = (found.get(name) for name in names)
        decoded = {} if data is None else JSON.decode(data)
        if not isinstance(decoded, dict):
            raise CorruptValueError("not a conversation of aiogram's: its data is no object")
        try:
            return Stored(state=None if state is None else state.decode(), data=decoded)
        except UnicodeDecodeError as error:
            raise CorruptValueError("not a conversation of aiogram's: its state is not UTF-8") from error

    def _named(self, conversation: Conversation) -> Sequence[str]:
        """Return the names that aiogram's `DefaultKeyBuilder` gives to the two strings."""
        parts: list[str | int | None] = [
            conversation.bot_id,
            conversation.business_connection_id,
            conversation.chat_id,
            conversation.thread_id,
            conversation.user_id,
            conversation.destiny if self._with_destiny else None,
        ]
        name = self.start + self._separator.join(str(part) for part in parts if part is not None)
        return [f"{name}{self._separator}state", f"{name}{self._separator}data"]


def _conversation(parts: Mapping[str, str]) -> Conversation:
    said: dict[str, Any] = {name: int(part) if name in _NUMBERS else part for name, part in parts.items()}
    return Conversation(**said)
