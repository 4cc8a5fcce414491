"""Sessions and installations of Slack apps in any storage: for Bolt's `App`, and, with `Async`, for its `AsyncApp`."""

from satchel_slack.installations import AsyncSatchelInstallationStore, SatchelInstallationStore
from satchel_slack.keys import per_channel, per_user, per_user_in_channel
from satchel_slack.middleware import AsyncBoundSession, AsyncSessionMiddleware, BoundSession, SessionMiddleware
from satchel_slack.states import AsyncSatchelOAuthStateStore, SatchelOAuthStateStore

__all__ = [
    "AsyncBoundSession",
    "AsyncSatchelInstallationStore",
    "AsyncSatchelOAuthStateStore",
    "AsyncSessionMiddleware",
    "BoundSession",
    "SatchelInstallationStore",
    "SatchelOAuthStateStore",
    "SessionMiddleware",
    "per_channel",
    "per_user",
    "per_user_in_channel",
]
