"""Session keys of Slack: Bolt finds the ids in each kind of request, and puts them into its context."""

from collections.abc import Callable

from slack_bolt.context.base_context import BaseContext

from satchel import session_key

KeyFunction = Callable[[BaseContext], str | None]
"""Finds the session key in the context of a request; None means that it has no session."""


def per_channel(context: BaseContext) -> str | None:
    """Return the key of a conversation in its workspace (`slack:T1:channel:C1`), or None where there is none."""
    return _key(context, "channel", context.channel_id)


def per_user(context: BaseContext) -> str | None:
    """Return the key of a user in a workspace (`slack:T1:user:U1`), in whatever conversation."""
    return _key(context, "user", context.user_id)


def per_user_in_channel(context: BaseContext) -> str | None:
    """Return the key of a user in a conversation (`slack:T1:channel:C1:user:U1`)."""
    return _key(context, "channel", context.channel_id, "user", context.user_id)


def _key(context: BaseContext, *parts: str | None) -> str | None:
    team = context.team_id or context.enterprise_id  # an installation for a whole organization may name no team
    found = [part for part in ("slack", team, *parts) if part]
    return session_key(*found) if len(found) == len(parts) + 2 else None
