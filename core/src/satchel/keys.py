"""Session keys: what a key may be, how one is built, and the presets that find one in an update."""

import re
from typing import Any

from satchel.errors import InvalidKeyError

MAX_KEY_BYTES = 512
"""The longest session key, in UTF-8 bytes."""

LEASE = "lease:"
"""What the key of a lease starts with."""

STEP = re.compile(r"(?:due|failed):\d{15}-[0-9a-f]{16}$")
"""What the key of a step ends with that a flow has scheduled."""

_UNSAFE = re.compile(r"[%\x00-\x1f\x7f]")
_UNSAFE_PART = re.compile(r"[%:\x00-\x1f\x7f]")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


def check_key(key: object) -> str:
    """Return `key` if it can be a session key.

    Raises:
        InvalidKeyError: it is not a string, is empty, has a lone surrogate, or is over 512 UTF-8 bytes.
    """
    if not isinstance(key, str):
        raise InvalidKeyError(f"a session key is a string, not {_a(key)}")
    if not key:
        raise InvalidKeyError("a session key cannot be empty")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKeyError(f"session key {show(key)} has a lone surrogate at index {error.start}") from None
    if size > MAX_KEY_BYTES:
        raise InvalidKeyError(f"session key {show(key)} has {size} UTF-8 bytes; the limit is {MAX_KEY_BYTES}")
    return key


def session_key(*parts: str | int) -> str:
    """Join `parts` to a key, `session_key("telegram", 42)` to `"telegram:42"`, so that different parts never meet.

    A colon inside a part is escaped, so `("a:b", "c")` and `("a", "b:c")` are two keys. A number is the same part as
    its digits.

    Raises:
        InvalidKeyError: there is no part, or one is empty or neither a string nor an integer, or the key is too long.
    """
    if not parts:
        raise InvalidKeyError("session_key() takes at least one part")
    for index, part in enumerate(parts):
        if isinstance(part, bool) or not isinstance(part, str | int):
            raise InvalidKeyError(f"part {index} of a session key is {_a(part)}, not a string or an integer")
        if part == "":
            raise InvalidKeyError(f"part {index} of a session key is empty")
    return check_key(":".join(escape_part(str(part)) for part in parts))


def key_parts(key: str) -> tuple[str, ...]:
    """Return the parts that `session_key` made `key` of, numbers as their digits."""
    return tuple(unescape(part) for part in key.split(":"))


def per_chat(update: Any) -> str | None:
    """Return the key of the chat that `update` belongs to (`chat:42`), or None if it has none.

    Reads the shapes of the Python frameworks and of raw Telegram updates: `effective_chat` (python-telegram-bot),
    `chat` (aiogram, pyTelegramBotAPI, Pyrogram), `channel` (discord.py, Slack), `message` and the other members of an
    update, as attributes or as items of a mapping.
    """
    chat = chat_of(update)
    return None if chat is None else session_key("chat", chat)


def per_user(update: Any) -> str | None:
    """Return the key of the user who caused `update` (`user:7`), in whatever chat, or None if there is none."""
    user = user_of(update)
    return None if user is None else session_key("user", user)


def per_user_in_chat(update: Any) -> str | None:
    """Return the key of the user of `update` in its chat (`chat:42:user:7`), or None if either is missing."""
    chat, user = chat_of(update), user_of(update)
    return None if chat is None or user is None else session_key("chat", chat, "user", user)


def chat_of(update: Any) -> str | int | None:
    """Return the id of the chat that `update` belongs to, or None; see `per_chat`."""
    return _find(update, _CHAT)


def user_of(update: Any) -> str | int | None:
    """Return the id of the user who caused `update`, or None."""
    return _find(update, _USER)


_CHAT = ("effective_chat", "chat", "channel")
_USER = ("effective_user", "from_user", "from", "user", "author")
_INSIDE = (
    "message", "edited_message", "callback_query", "channel_post", "edited_channel_post", "business_message",
    "edited_business_message", "inline_query", "chosen_inline_result", "my_chat_member", "chat_member",
    "chat_join_request", "message_reaction", "pre_checkout_query", "shipping_query", "poll_answer", "event",
)  # fmt: skip


def _find(update: Any, names: tuple[str, ...], depth: int = 2) -> str | int | None:
    """Look for the id of the first member of `update` that is called one of `names`, then inside of its messages."""
    for name in names:
        found = _id(_member(update, name))
        if found is not None:
            return found
    if depth:
        for name in _INSIDE:
            inner = _member(update, name)
            found = None if inner is None else _find(inner, names, depth - 1)
            if found is not None:
                return found
    return None


def _member(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _id(thing: Any) -> str | int | None:
    if not isinstance(thing, str | int):
        thing = None if thing is None else _member(thing, "id")
    return thing if isinstance(thing, str | int) and not isinstance(thing, bool) and thing != "" else None


def escape(text: str) -> str:
    """Make `text` printable: a control character or percent sign becomes `%XX`. Injective, and keeps prefixes."""
    return text if text.isprintable() and "%" not in text else _UNSAFE.sub(_percent, text)


def escape_part(text: str) -> str:
    """Escape `text` as `escape` does, and colons too, so that a colon after it is a separator."""
    return _UNSAFE_PART.sub(_percent, text)


def unescape(text: str) -> str:
    """Undo `escape` and `escape_part`."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "%" in text else text


def after(prefix: str) -> str:
    """Return the first string that is greater than all that start with `prefix`, in the order of code points.

    That is also the order of UTF-8 bytes: a backend that keeps names in it finds a prefix as a range of its index.
    """
    start = prefix.rstrip("\U0010ffff")
    following = ord(start[-1]) + 1
    return start[:-1] + chr(0xE000 if following == 0xD800 else following)


def show(text: str) -> str:
    """Return `text` for a message: quoted, on one line, shortened."""
    return ascii(text) if len(text) <= 80 else ascii(text[:77]) + "..."


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _a(thing: object) -> str:
    return "None" if thing is None else type(thing).__name__
