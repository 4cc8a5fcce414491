"""Frames of HTTP/2, as far as a proxy has to know them: which ones are requests and answers, and which housekeeping.

gRPC keeps house while it works: it answers pings, widens windows, measures the line. A proxy that takes every byte of a
client for a request would count these, and spend its faults on them.
"""

from collections.abc import Iterator
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, 3.4: what a client begins with
DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
GOAWAY: Final = 7
ANSWERS: Final = frozenset((DATA, HEADERS, RST_STREAM, GOAWAY))
"""The frames that tell a client something about its request."""

_HEADER: Final = 9  # RFC 9113, 4.1: bytes of length, of type, of flags, of the stream's id


class Frames:
    """Follows one direction of a connection, in whatever pieces it comes.

    Args:
        skip: the bytes before the first frame.
    """

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip
        self._header = b""

    def begun(self, data: bytes) -> Iterator[int]:
        """Iterate over the types of the frames whose header is complete with `data`. Iterate to the end."""
        place = 0
        while place < len(data):
            if self._skip:
                step = min(self._skip, len(data) - place)
                self._skip -= step
                place += step
                continue
            step = _HEADER - len(self._header)
            self._header += data[place : place + step]
            place += step
            if len(self._header) == _HEADER:
                yield self._header[3]
                self._skip = int.from_bytes(self._header[:3])
                self._header = b""
