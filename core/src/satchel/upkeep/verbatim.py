"""Payloads as they are, for moving records without the keys that they are encrypted with."""

from typing import Final, NamedTuple

from satchel.codecs import JSON, Codec
from satchel.errors import ConfigurationError, UnsupportedValueError

_ENCRYPTED: Final = b"\xffsiv1"  # how records of satchel.encryption begin
_BYTES: Final = b"\xff"  # how all begin that are no text


class Verbatim(NamedTuple):
    """A record's payload, and the name that it is stored under, which is its namespace and its key."""

    payload: bytes
    name: str


class VerbatimCodec(Codec[Verbatim]):
    """Payloads of codecs that make bytes, which are `compressed()` and `encrypted()`, neither decoded nor encoded.

    What is encrypted is tied to its name, so it can be written under the same one only: same namespace, same key.
    What is plain JSON is checked to be that. A storage of a codec that makes text is not for this one: some keep text
    and bytes in different places.
    """

    is_text = False

    def __init__(self, name: str = "") -> None:
        self._name = name

    def bound(self, name: str) -> Codec[Verbatim]:
        """Return the codec for one record."""
        return VerbatimCodec(name)

    def encode(self, value: Verbatim) -> bytes:
        """Return the payload.

        Raises:
            UnsupportedValueError: it is encrypted for another name, or no payload at all.
        """
        if not isinstance(value, Verbatim):
            raise UnsupportedValueError("is no payload: this storage was opened for payloads as they are")
        if self._name not in ("", value.name) and value.payload.startswith(_ENCRYPTED):
            raise UnsupportedValueError("is encrypted for another namespace or key: it takes the keys to move it")
        return value.payload

    def decode(self, payload: bytes) -> Verbatim:
        """Return the payload.

        Raises:
            CorruptValueError: it is neither marked as bytes nor JSON.
        """
        if not payload.startswith(_BYTES):
            JSON.decode(payload)
        return Verbatim(payload, self._name)


VERBATIM: Final = VerbatimCodec()
"""The codec to open a storage with, of which payloads are moved as they are."""


def refuse_verbatim(codec: object) -> None:
    """Raise `ConfigurationError` if a codec shows no values."""
    if isinstance(codec, VerbatimCodec):
        raise ConfigurationError("payloads as they are show no values: open the storage with its own codec")
