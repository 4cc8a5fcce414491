"""What a column of the type jsonb cannot hold (Documentation, "8.14. JSON Types")."""

import json
import re
from decimal import Decimal
from typing import Any, Final

from satchel import Codec, UnsupportedValueError
from satchel.codecs import step
from satchel.storage import V

LONGEST: Final = 32_000_000
"""The longest JSON, in bytes, that has room in it.

The server reads an array into a block of memory of which each element takes 32 bytes. It doubles the block when it is
full, up to 1 GB (src/include/utils/jsonb.h, JsonbValue; memutils.h, MaxAllocSize), so there are 16 777 216 at most, and
an element is at least two bytes of text.
"""

_SUSPECT: Final = re.compile(rb"\\u0000|[eE][-+]?[0-9]{4}|[0-9]{10000}")


class JsonbCodec(Codec[V]):
    """Refuses what jsonb cannot hold before anything is sent: NUL, and numbers that `numeric` has no room for."""

    def __init__(self, codec: Codec[V]) -> None:
        self.codec = codec

    def encode(self, value: V) -> bytes:
        """Return the JSON of the other codec, if jsonb can hold it."""
        payload = self.codec.encode(value)
        if _SUSPECT.search(payload):
            _check(json.loads(payload, parse_int=_Number, parse_float=_Number), "$")
        return payload

    def decode(self, payload: bytes) -> V:
        """Return what the other codec makes of it."""
        return self.codec.decode(payload)


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _check(value: Any, path: str) -> None:
    """Raise if jsonb cannot hold a part of `value`, with its path."""
    if isinstance(value, _Number):
        _, digits, exponent = Decimal(value).as_tuple()
        # Documentation, "8.1.2. Arbitrary Precision Numbers".
        if not isinstance(exponent, int) or exponent < -16_383 or len(digits) + exponent > 131_072:
            raise UnsupportedValueError("is a number that jsonb cannot hold", path=path)
    elif isinstance(value, str):
        if "\0" in value:
            raise UnsupportedValueError("has a NUL, which jsonb cannot hold", path=path)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check(child, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, child in value.items():
            if "\0" in name:
                raise UnsupportedValueError("has a key with a NUL, which jsonb cannot hold", path=path)
            _check(child, path + step(name))
