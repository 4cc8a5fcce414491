"""Keys of objects: made from names, injectively, of characters that every server and tool takes, and never too long."""

import re
from hashlib import sha256
from typing import Final
from urllib.parse import quote, unquote

_LONGEST: Final = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_DIGEST: Final = 64
# What quote() adds to a name, which has %25, %3A, %7F and %00 to %1F of its own.
_QUOTED: Final = re.compile(r"(?:%(?!25|3A|7F|[01])[0-9A-F]{2})+")


class Keys:
    """The keys under one prefix.

    A key is prefix, shard and name, percent-encoded. One that would be too long ends with a digest of the name in place
    of its last part, behind a `#`, which is in no other; then the name has to be kept in the object.

    Args:
        prefix: what all of them start with; up to 256 bytes.
        shards: over how many further prefixes they are spread, by a digest of the name: 1, 16, 256 or 4096.
    """

    def __init__(self, prefix: str, shards: int) -> None:
        self._prefix = prefix
        self._digits = len(f"{shards - 1:x}") if shards > 1 else 0
        self._shards = shards
        self._room = _LONGEST - len(prefix.encode()) - self._digits - 1

    def key(self, name: str) -> str:
        """Return the key for a name."""
        digest = sha256(name.encode()).hexdigest()
        shard = f"{digest[: self._digits]}/" if self._digits else ""
        end = quoted(name)
        if len(end) > self._room:
            end = f"{end[: self._room - _DIGEST - 1]}#{digest}"
        return f"{self._prefix}{shard}{end}"

    def starts(self, prefix: str) -> list[str]:
        """Return what the keys of names with a prefix start with, one for each shard; others may, too."""
        end = quoted(prefix)[: self._room - _DIGEST - 1]
        shards = [f"{shard:0{self._digits}x}/" for shard in range(self._shards)] if self._digits else [""]
        return [f"{self._prefix}{shard}{end}" for shard in shards]

    def pattern(self, prefix: str) -> str:
        """Return the same as one pattern for a policy, with a `?` for each digit of a shard."""
        shard = f"{'?' * self._digits}/" if self._digits else ""
        return f"{literal(self._prefix)}{shard}{quoted(prefix)}*"

    def name(self, key: str) -> str | None:
        """Return the name that a key was made from, or None if only its object knows."""
        end = key[len(self._prefix) + (self._digits + 1 if self._digits else 0) :]
        return None if "#" in end else unquoted(end)


def quoted(name: str) -> str:
    """Return a name in ASCII without slashes, each character by itself, so that a start of a name is one of this."""
    return quote(name, safe=":%@")


def literal(prefix: str) -> str:
    """Return a prefix for a pattern of a policy, where a star would stand for anything.

    See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html.
    """
    return prefix.replace("*", "${*}")


def unquoted(text: str) -> str:
    """Undo `quoted`."""
    return _QUOTED.sub(lambda match: unquote(match[0]), text)
