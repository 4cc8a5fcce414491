"""Installations of a Slack app: tokens of bots and of users, a record for each."""

import logging
from logging import Logger
from typing import Any, Final

from slack_sdk.oauth.installation_store import Bot, Installation, InstallationStore
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore

from satchel import Batch, ConfigurationError, Listing, Session, Sessions, StorageAdapter, blocking, session_key
from satchel.blocking.sessions import checked
from satchel.settling import together

logger = logging.getLogger("satchel")

_OF_BOT: Final = (
    "bot_id", "bot_user_id", "bot_token", "bot_scopes", "bot_refresh_token", "bot_token_expires_at"
)  # fmt: skip


class AsyncSatchelInstallationStore(AsyncInstallationStore):
    """Installations for an `AsyncApp`. An outage raises: it never reads as an app that is not installed.

    The records are `slack:app:CLIENT:ENTERPRISE:TEAM:bot`, `…:installer` for the latest installation, and
    `…:user:USER` for each user's; an id that there is not is `-`. They hold tokens, so give the storage a codec that
    encrypts.

    Args:
        storage: a storage of JSON that can list.
        client_id: keeps apps apart that share a storage.

    Raises:
        ConfigurationError: it cannot list, is no storage, or a blocking one.
    """

    def __init__(self, storage: StorageAdapter[Any], *, client_id: str | None = None) -> None:
        self._sessions = Sessions(storage)
        if not isinstance(storage, Listing):
            raise ConfigurationError(f"{storage!r} cannot list, so it could not tell which installations to delete")
        self._storage: Any = storage
        self._client_id = client_id

    @property
    def logger(self) -> Logger:
        """Satchel's logger."""
        return logger

    async def async_save(self, installation: Installation) -> None:
        """Save an installation as its user's and as the latest, and its bot, if it has one."""
        place = self._place(installation.enterprise_id, installation.team_id)
        record = _record(installation)
        values = {f"{place}:installer": record, _user(place, installation.user_id): record}
        if installation.bot_token is not None:
            values[f"{place}:bot"] = _record(installation.to_bot())
        await self._write(values)

    async def async_save_bot(self, bot: Bot) -> None:
        """Save a bot."""
        await self._write({f"{self._place(bot.enterprise_id, bot.team_id)}:bot": _record(bot)})

    async def async_find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        """Return the bot of a workspace or organization, or None if there is none."""
        place = self._place(enterprise_id, None if is_enterprise_install else team_id)
        found = await self._storage.read(f"{place}:bot")
        return None if found is None else Bot(**found)

    async def async_find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> Installation | None:
        """Return a user's installation or, without one, the latest; or None. With a user's comes today's bot token."""
        place = self._place(enterprise_id, None if is_enterprise_install else team_id)
        key = f"{place}:installer" if user_id is None else _user(place, user_id)
        found, bot = await together(self._storage.read(one) for one in (key, f"{place}:bot"))
        if found is None:
            return None
        if bot is not None and (user_id is not None or found["bot_token"] is None):
            found |= {name: bot[name] for name in _OF_BOT}
        return Installation(**found)

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Remove the bot of a workspace or organization."""
        await self._storage.delete(f"{self._place(enterprise_id, team_id)}:bot")

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """Remove a user's installation, so that another becomes the latest; without a user, remove all of them."""
        place = self._place(enterprise_id, team_id)
        if user_id is None:
            users = [key async for key in self._storage.keys(f"{place}:user:")]
            await together(self._storage.delete(key) for key in (f"{place}:installer", *users))
            return
        await self._storage.delete(_user(place, user_id))
        users = [key async for key in self._storage.keys(f"{place}:user:")]
        others = [one for one in await together(map(self._storage.read, users)) if one is not None]
        latest = max(others, key=lambda one: float(one["installed_at"]), default=None)

        def succeed(session: Session[Any]) -> None:
            if not session.is_new and session.data["user_id"] == user_id:
                session.data = latest

        await self._sessions.update(f"{place}:installer", succeed)

    def _place(self, enterprise_id: str | None, team_id: str | None) -> str:
        return session_key("slack", "app", self._client_id or "-", enterprise_id or "-", team_id or "-")

    async def _write(self, values: dict[str, Any]) -> None:
        if isinstance(self._storage, Batch):
            await self._storage.write_many(values)
        else:
            await together(self._storage.write(key, value) for key, value in values.items())


class SatchelInstallationStore(InstallationStore):
    """Installations for an `App`; see `AsyncSatchelInstallationStore`.

    Args:
        storage: one of `satchel.blocking`.
        options: those of `AsyncSatchelInstallationStore`.

    Raises:
        ConfigurationError: it is none of `satchel.blocking`, or cannot list.
    """

    def __init__(self, storage: blocking.Storage[Any], **options: Any) -> None:
        self._installations = AsyncSatchelInstallationStore(checked(storage, "installation stores").wrapped, **options)

    @property
    def logger(self) -> Logger:
        """Satchel's logger."""
        return logger

    def save(self, installation: Installation) -> None:
        """Save an installation as its user's and as the latest, and its bot, if it has one."""
        blocking.run(self._installations.async_save(installation))

    def save_bot(self, bot: Bot) -> None:
        """Save a bot."""
        blocking.run(self._installations.async_save_bot(bot))

    def find_bot(self, **which: Any) -> Bot | None:
        """Return the bot of a workspace or organization, or None if there is none."""
        return blocking.run(self._installations.async_find_bot(**which))

    def find_installation(self, **which: Any) -> Installation | None:
        """Return a user's installation or, without one, the latest; or None. With a user's comes today's bot token."""
        return blocking.run(self._installations.async_find_installation(**which))

    def delete_bot(self, **which: Any) -> None:
        """Remove the bot of a workspace or organization."""
        blocking.run(self._installations.async_delete_bot(**which))

    def delete_installation(self, **which: Any) -> None:
        """Remove a user's installation, so that another becomes the latest; without a user, remove all of them."""
        blocking.run(self._installations.async_delete_installation(**which))


def _user(place: str, user_id: str | None) -> str:
    return f"{place}:user:{session_key(user_id or '-')}"


def _record(thing: Bot | Installation) -> dict[str, Any]:
    return {name: list(field) if isinstance(field, tuple) else field for name, field in vars(thing).items()}
