"""How a record becomes a session: whether it has ended, and which migrations its data needs."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from satchel.adapter import milliseconds
from satchel.clock import now
from satchel.envelope import Envelope
from satchel.errors import ConfigurationError, SessionError, SessionVersionError
from satchel.keys import show
from satchel.settling import settled

Migration = Callable[[Any], Any | Awaitable[Any]]
"""Takes data of the version before and returns it in its own version's layout, at once or awaited."""

_MARKS: Final = 10  # of an idle timeout: how often at most it is noted that a session is in use


class Lifetimes:
    """What `Sessions` was told about versions and ends; with nothing told, data is as it is stored.

    Attributes:
        version: of the layout that this program reads and writes, or None.
        keeps: whether there is anything to keep beside the data.
    """

    def __init__(
        self,
        *,
        migrations: Mapping[int, Migration] | None,
        version: int | None,
        idle_timeout: timedelta | None,
        absolute_timeout: timedelta | None,
        activity: timedelta | None,
    ) -> None:
        self._migrations = _checked(migrations or {})
        self.version = max(self._migrations, default=None) if version is None else _version(version)
        if self.version is not None and any(number > self.version for number in self._migrations):
            raise ConfigurationError(f"version is {version}, but there is a migration to {max(self._migrations)}")
        self._idle = None if idle_timeout is None else milliseconds("idle_timeout", idle_timeout)
        self._absolute = None if absolute_timeout is None else milliseconds("absolute_timeout", absolute_timeout)
        noted = None if activity is None else milliseconds("activity", activity)
        if self._idle is not None:
            noted = self._idle // _MARKS if noted is None else min(noted, self._idle // _MARKS)
        self._noted = noted
        self.keeps = not self.version is self._noted is self._absolute is None

    def has_ended(self, found: Envelope) -> bool:
        """Tell whether the next session is to begin."""
        at = now()
        return (self._idle is not None and found.used is not None and at - found.used >= self._idle) or (
            self._absolute is not None and found.created is not None and at - found.created >= self._absolute
        )

    def is_to_be_marked(self, found: Envelope) -> bool:
        """Tell whether it is time to note that the session is in use, though nothing else changes."""
        if self._noted is not None and (found.used is None or now() - found.used >= self._noted):
            return True
        return self._absolute is not None and found.created is None

    async def migrated(self, key: str, found: Envelope) -> Any:
        """Return the data in today's layout.

        Raises:
            SessionVersionError: it is of a version that this program does not know yet.
            SessionError: a migration returned nothing.
        """
        if self.version is None:
            return found.data
        at = found.version or 0
        if at > self.version:
            raise SessionVersionError(
                f"session {show(key)} has data of version {at}, and this program knows {self.version}"
            )
        data = found.data
        for number in sorted(self._migrations):
            if number > at:
                data = await settled(self._migrations[number](data))
                if data is None:
                    raise SessionError(f"the migration to version {number} returned None for session {show(key)}")
        return data

    def kept(self, data: Any, before: Envelope | None) -> Envelope:
        """Return what to store for data, in place of what was there before."""
        if not self.keeps:
            return Envelope(data) if before is None else before._replace(data=data)
        at = now()
        return Envelope(
            data,
            version=self.version if self.version is not None else before and before.version,
            created=(before and before.created) or at,
            used=at if self._noted is not None else before and before.used,
        )


def _checked(migrations: Mapping[int, Migration]) -> dict[int, Migration]:
    for number, migration in migrations.items():
        _version(number)
        if not callable(migration):
            raise ConfigurationError(f"the migration to version {number} is no function")
    return dict(migrations)


def _version(number: object) -> int:
    if type(number) is not int or number < 1:
        raise ConfigurationError(f"{number!r} is no version: versions are the integers from 1")
    return number
