"""Which session key a key of another framework's becomes, and which it was: injective, and there and back."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from satchel.errors import ConfigurationError, InvalidKeyError
from satchel.keys import check_key, escape_part, session_key, show, unescape

_USER_IN_CHAT: Final = re.compile(r"(?P<user>[1-9][0-9]*)/(?P<chat>-?[1-9][0-9]*)")
_OURS: Final = re.compile(r"chat:(?P<chat>-?[1-9][0-9]*):user:(?P<user>[1-9][0-9]*)")


class KeyMapping(NamedTuple):
    """Two functions, each of which undoes the other.

    Attributes:
        ours: returns our key for one of theirs, or raises `InvalidKeyError`.
        theirs: returns their key for one of ours, or None if it can be of none of theirs.
    """

    ours: Callable[[str], str]
    theirs: Callable[[str], str | None]


def labelled(label: str) -> KeyMapping:
    """Return the mapping of `42` to `label:42`."""

    def ours(theirs: str) -> str:
        return session_key(label, theirs)

    def theirs(key: str) -> str | None:
        part = unescape(key.removeprefix(f"{label}:"))
        return part if part and f"{label}:{escape_part(part)}" == key else None

    return KeyMapping(ours, theirs)


def _user_in_chat(theirs: str) -> str:
    found = _USER_IN_CHAT.fullmatch(theirs)
    if found is None:
        raise InvalidKeyError(f"{show(theirs)} is not of the form user/chat")
    return session_key("chat", found["chat"], "user", found["user"])


def _of_user_in_chat(key: str) -> str | None:
    found = _OURS.fullmatch(key)
    return None if found is None else f"{found['user']}/{found['chat']}"


MAPPINGS: Final = {
    "telegram": labelled("telegram"),
    "per_chat": labelled("chat"),
    "per_user": labelled("user"),
    "per_user_in_chat": KeyMapping(_user_in_chat, _of_user_in_chat),
    "same": KeyMapping(check_key, str),
}
"""By the names of our own key functions, for records that were kept by the same thing: `per_chat` makes `chat:42`."""


def mapping(name: object) -> KeyMapping:
    """Return the mapping of that name.

    Raises:
        ConfigurationError: there is none.
    """
    if not isinstance(name, str) or name not in MAPPINGS:
        raise ConfigurationError(f"keys is {name!r}; it is one of {', '.join(MAPPINGS)}")
    return MAPPINGS[name]
