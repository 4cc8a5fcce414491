"""Compression of what a codec makes, by zlib; `Codec.compressed` says how to use it.

At rest: five bytes, FF and `zlib`, and then a zlib stream (RFC 1950). FF begins neither JSON nor any other UTF-8 text,
so what was not compressed is told apart by its first byte.
"""

import zlib
from typing import Final, NoReturn

from satchel.codecs import Codec
from satchel.errors import ConfigurationError, CorruptValueError, ValueTooLargeError
from satchel.storage import V

_MARK: Final = b"\xffzlib"


class CompressedCodec(Codec[V]):
    """What another codec makes, compressed where that makes it smaller."""

    is_text = False

    def __init__(self, inner: Codec[V], threshold: int, limit: int) -> None:
        for name, number in (("threshold", threshold), ("limit", limit)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ConfigurationError(f"compressed() takes a {name} in bytes, a positive integer")
        self._inner = inner
        self._threshold = threshold
        self._limit = limit

    @property
    def plain(self) -> Codec[V]:
        """The codec that this one compresses."""
        return self._inner.plain

    def bound(self, name: str) -> Codec[V]:
        """Return the codec for one record."""
        inner = self._inner.bound(name)
        return self if inner is self._inner else CompressedCodec(inner, self._threshold, self._limit)

    def encode(self, value: V) -> bytes:
        """Return the bytes for `value`, compressed if that is worth it.

        Raises:
            ValueTooLargeError: there are more than `limit` before compression.
        """
        payload = self._inner.encode(value)
        size = len(payload)
        if size > self._limit:
            message = f"a value has {size} bytes before compression; compressed() takes {self._limit}"
            raise ValueTooLargeError(message, size=size, limit=self._limit)
        is_marked = payload.startswith(_MARK)  # as only a codec that makes no text can have it
        if size < self._threshold and not is_marked:
            return payload
        packed = _MARK + zlib.compress(payload)
        return packed if len(packed) < size or is_marked else payload

    def decode(self, payload: bytes) -> V:
        """Return the value that compressed bytes, or such as never were, stand for.

        Raises:
            CorruptValueError: they are damaged, or stand for more than `limit` bytes.
        """
        if payload.startswith(_MARK):
            payload = self._unpacked(payload[len(_MARK) :])
        return self._inner.decode(payload)

    def compressed(self, *, threshold: int = 512, limit: int = 0) -> NoReturn:
        """Refuse: nothing becomes smaller twice."""
        raise ConfigurationError("the codec compresses already")

    def _unpacked(self, stream: bytes) -> bytes:
        unpacking = zlib.decompressobj()
        try:
            payload = unpacking.decompress(stream, self._limit + 1)
        except zlib.error:
            raise CorruptValueError("damaged: what is compressed there is no zlib stream") from None
        if len(payload) > self._limit:
            raise CorruptValueError(f"more than {self._limit} bytes once decompressed")
        if not unpacking.eof or unpacking.unused_data:
            raise CorruptValueError("damaged: its zlib stream is cut off, or goes on behind its end")
        return payload
