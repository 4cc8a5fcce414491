"""The sessions of grammY: which key they are under, and what `enhanceStorage` puts around them.

A record is the JSON of the session itself. `enhanceStorage` makes it `{"__d": session, "v": version, "e": end}`, the
version being that of its migrations and the end, in milliseconds since 1970, that of `millisecondsToLive`; either may
be missing (grammY 1.46, src/convenience/session.ts).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from satchel.adapter import Payload
from satchel.clock import now
from satchel.codecs import JSON
from satchel.envelope import Envelope
from satchel.errors import ConfigurationError, CorruptValueError
from satchel.foreign.keys import mapping
from satchel.foreign.storage import ForeignStorage
from satchel.urls import boolean

_DATA: Final = "__d"
_ENVELOPE: Final = frozenset((_DATA, "v", "e"))
_END: Final = b'"e"'  # what has none in its text has not ended
_AT_ONCE: Final = 100  # sessions that are looked into: they may be large


class Grammy(ForeignStorage):
    """Sessions as grammY's storage adapters write them. An adapter of ours stands behind this class.

    Args:
        source: the adapter's first argument: a URL, a client, a folder.
        prefix: grammY's option of this name, and before it whatever the client itself puts before its keys.
        keys: which key a session gets here: `telegram` makes "telegram:42" of "42", `per_chat` "chat:42", `per_user`
            "user:42", `per_user_in_chat` "chat:-100:user:42" of "42/-100", and `same` leaves it as it is.
        only: a regular expression that all of a key after the prefix has to match, where others use the same place.
        enhanced: False, if sessions that look like an envelope of `enhanceStorage` are none.
        options: the adapter's.
    """

    framework = "grammy"
    said_in_urls: ClassVar = {"prefix": str, "keys": str, "only": str, "enhanced": boolean}

    def __init__(
        self,
        source: Any,
        *,
        prefix: str = "",
        keys: str = "telegram",
        only: str | None = None,
        enhanced: bool = True,
        **options: Any,
    ) -> None:
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix is {prefix!r}; it is a string")
        try:
            self._only = None if only is None else re.compile(only)
        except (re.error, TypeError) as error:
            raise ConfigurationError(f"only is {only!r}, which is no regular expression: {error}") from None
        self._mapping = mapping(keys)
        self._enhanced = enhanced
        self.start = prefix
        super().__init__(source, **options)

    def names(self, key: str) -> Sequence[str]:
        """One, or none."""
        theirs = self._mapping.theirs(key)
        return () if theirs is None or not self._is_wanted(theirs) else (self.start + theirs,)

    def key(self, name: str) -> str | None:
        """Leave the prefix out, and map the rest."""
        theirs = name.removeprefix(self.start)
        return self._mapping.ours(theirs) if self._is_wanted(theirs) else None

    def value(self, found: Mapping[str, Payload], names: Sequence[str]) -> Any:
        """Take the session out of its envelope, and put it into ours if it has a version."""
        (name,) = names
        value = JSON.decode(found[name])
        if not self._enhanced or not _is_envelope(value):
            return Envelope(value).closed()
        data, version, end = value[_DATA], value.get("v"), value.get("e")
        if data is None or not _is(int, version) or not _is((int, float), end):
            raise CorruptValueError("not a session of enhanceStorage, though it looks like one: see `enhanced`")
        return None if end is not None and end < now() else Envelope(data, version=version).closed()

    async def alive(self, names: Sequence[str]) -> Sequence[str]:
        """Look into the records, as only they tell when they end."""
        if not self._enhanced:
            return names
        alive: list[str] = []
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            found = await self._found(some)
            alive += [name for name in some if name not in found or not self._has_ended(name, found)]
        return alive

    async def _found(self, names: Sequence[str]) -> Mapping[str, Payload]:
        try:
            return await self.get_many(names)
        except CorruptValueError:  # of one of them: whoever reads it is told
            if len(names) == 1:
                return {}
            each = [await self._found([name]) for name in names]
            return {name: payload for found in each for name, payload in found.items()}

    def _has_ended(self, name: str, found: Mapping[str, Payload]) -> bool:
        if _END not in found[name]:
            return False
        try:
            return self.value(found, [name]) is None
        except CorruptValueError:
            return False

    def _is_wanted(self, theirs: str) -> bool:
        return self._only is None or self._only.fullmatch(theirs) is not None


def _is_envelope(value: Any) -> bool:
    """Tell what `enhanceStorage` writes from sessions that have a member of the same name."""
    return type(value) is dict and _DATA in value and _ENVELOPE.issuperset(value)


def _is(kind: type | tuple[type, ...], member: Any) -> bool:
    return member is None or (isinstance(member, kind) and not isinstance(member, bool))
