"""The dialog stack, and how it lies beside a user's private data in one record."""

import re
from typing import Any, Final, NamedTuple

from satchel.codecs import JSON, Codec
from satchel.errors import CorruptValueError

_STACK: Final = "$dialogs"
_LIKE_IT: Final = re.compile(r"\$+dialogs")


class Dialog(NamedTuple):
    """One dialog on the stack.

    Attributes:
        name: as the bot calls it.
        data: its own data, which goes when it ends.
    """

    name: str
    data: dict[str, Any]


class Private(NamedTuple):
    """What a user has in a conversation.

    Attributes:
        data: of the user, whatever dialog is on top.
        dialogs: the stack, its bottom first.
    """

    data: dict[str, Any]
    dialogs: list[Dialog]


class PrivateCodec(Codec[Private]):
    """One JSON object: the fields of the data, and last `$dialogs`, unless the stack is empty.

    A field that the bot itself calls `$dialogs`, `$$dialogs` and so on has one more dollar there, so they never meet.
    """

    def encode(self, value: Private) -> bytes:
        """Return the object."""
        data, dialogs = value
        record = {f"${name}" if _is_like_it(name) else name: field for name, field in data.items()}
        if dialogs:
            record[_STACK] = [{"name": name, "data": own} for name, own in dialogs]
        return JSON.encode(record)

    def decode(self, payload: bytes) -> Private:
        """Return what an object says.

        Raises:
            CorruptValueError: it is no object, or its stack is none.
        """
        record = JSON.decode(payload)
        try:
            dialogs = [Dialog(each["name"], each["data"]) for each in record.pop(_STACK, ())]
            return Private({name[1:] if _is_like_it(name) else name: field for name, field in record.items()}, dialogs)
        except (AttributeError, KeyError, TypeError) as error:
            raise CorruptValueError("what is stored is no private data with a stack of dialogs") from error


def _is_like_it(name: object) -> bool:
    return isinstance(name, str) and _LIKE_IT.fullmatch(name) is not None
