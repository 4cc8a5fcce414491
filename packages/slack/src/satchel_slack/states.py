"""The states of installations that are under way, each of which is consumed once."""

import logging
import secrets
from datetime import timedelta
from hashlib import sha256
from logging import Logger
from typing import Any

from slack_sdk.oauth.state_store import OAuthStateStore
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from satchel import Session, Sessions, StorageAdapter, blocking
from satchel.adapter import milliseconds
from satchel.blocking.sessions import checked
from satchel.clock import now

logger = logging.getLogger("satchel")


class AsyncSatchelOAuthStateStore(AsyncOAuthStateStore):
    """States for an `AsyncApp`. Of all that consume one, in whatever process, just one is told that it is valid.

    That is so on a versioned storage. What is stored is a digest of the state; whoever reads it cannot forge an
    installation.

    Args:
        storage: any storage of JSON. States that nobody consumes are removed by its `ttl`; they end in any case.
        expiration: how long an installation may take.
        prefix: is put before every key.

    Raises:
        ConfigurationError: it is no storage, or a blocking one, or the expiration is not positive.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        expiration: timedelta = timedelta(minutes=10),
        prefix: str = "slack:state:",
    ) -> None:
        self._storage = storage
        self._sessions = Sessions(storage)
        self._milliseconds = milliseconds("expiration", expiration)
        self._prefix = prefix

    @property
    def logger(self) -> Logger:
        """Satchel's logger."""
        return logger

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        """Return a new state."""
        state = secrets.token_urlsafe(32)
        await self._storage.write(self._key(state), {"expires_at": now() + self._milliseconds})
        return state

    async def async_consume(self, state: str) -> bool:
        """Tell whether the state was issued, has not ended, and is consumed by this very call."""
        return await self._sessions.update(self._key(state), _consume)

    def _key(self, state: str) -> str:
        # Whatever came in with a request is a key of 64 letters, and appears in no message.
        return self._prefix + sha256(state.encode(errors="surrogatepass")).hexdigest()


class SatchelOAuthStateStore(OAuthStateStore):
    """States for an `App`; see `AsyncSatchelOAuthStateStore`.

    Args:
        storage: one of `satchel.blocking`.
        options: those of `AsyncSatchelOAuthStateStore`.

    Raises:
        ConfigurationError: it is none of `satchel.blocking`, or the expiration is not positive.
    """

    def __init__(self, storage: blocking.Storage[Any], **options: Any) -> None:
        self._states = AsyncSatchelOAuthStateStore(checked(storage, "state stores").wrapped, **options)

    @property
    def logger(self) -> Logger:
        """Satchel's logger."""
        return logger

    def issue(self, *args: Any, **kwargs: Any) -> str:
        """Return a new state."""
        return blocking.run(self._states.async_issue())

    def consume(self, state: str) -> bool:
        """Tell whether the state was issued, has not ended, and is consumed by this very call."""
        return blocking.run(self._states.async_consume(state))


def _consume(session: Session[Any]) -> bool:
    is_valid = not session.is_new and bool(session.data["expires_at"] > now())
    session.delete()
    return is_valid
