"""What sessions keep beside their data: the version of its layout, when it began, and when it was last used.

A record is the data itself as long as there is nothing to keep; then it is `{"$satchel": {…}, "data": …}`. Data that
happens to look like that is put into an envelope of its own, so what one reads is always what was written.
"""

from typing import Any, Final, NamedTuple

_MARK: Final = "$satchel"
_DATA: Final = "data"


class Envelope(NamedTuple):
    """Data, and what is kept beside it.

    Attributes:
        data: a JSON value.
        version: of the data's layout; None is older than any.
        created: when the session began, in milliseconds since 1970; None if that is not kept.
        used: when the session was last used, as far as that is kept.
    """

    data: Any
    version: int | None = None
    created: int | None = None
    used: int | None = None

    @classmethod
    def opened(cls, value: Any) -> "Envelope":
        """Return what is in a record's value, which may be the data alone."""
        if not _is_envelope(value):
            return cls(value)
        kept = value[_MARK]
        return cls(value[_DATA], _integer(kept, "version"), _integer(kept, "created"), _integer(kept, "used"))

    def closed(self) -> Any:
        """Return the value to store."""
        fields = {"version": self.version, "created": self.created, "used": self.used}
        kept = {name: field for name, field in fields.items() if field is not None}
        return {_MARK: kept, _DATA: self.data} if kept or _is_envelope(self.data) else self.data


def _is_envelope(value: Any) -> bool:
    return type(value) is dict and len(value) == 2 and type(value.get(_MARK)) is dict and _DATA in value


def _integer(kept: dict[str, Any], name: str) -> int | None:
    found = kept.get(name)
    return found if type(found) is int else None
