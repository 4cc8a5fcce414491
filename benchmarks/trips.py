"""How often a turn goes to the server, counted by a proxy in between."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from benchmarks.places import PLACES
from benchmarks.report import Setting, Table, session_of
from satchel import SessionGroup, Sessions, Storage, open_storage
from satchel_conformance.proxy import Proxy, address_in

NOTE: Final = (
    "How often a turn waits for the server, on warm connections; what is wanted is in the head. A group has three "
    "parts on one storage. Where requests are made side by side, their number is in brackets."
)


def answer(setting: Setting) -> Iterator[Table]:
    """Count, on each server."""
    rows = []
    for name, place in PLACES.items():
        if place.server is not None and setting.wants(name):
            with place.server.server() as url, Proxy(*address_in(url)) as proxy:
                behind = proxy.url(url)
                behind += f"{'&' if '?' in behind else '?'}namespace=bench-{secrets.token_hex(4)}"
                rows.append({"": name, **asyncio.run(_counted(proxy, behind))})
    if rows:
        yield Table("trips", "Round trips of a turn", rows, NOTE)


async def _counted(proxy: Proxy, url: str) -> dict[str, Any]:
    async with open_storage(url) as storage:
        found: dict[str, Any] = {}
        for name, turn in _turns(storage).items():
            for _ in range(7):  # statements are prepared, scripts loaded, by then
                await turn()
            with proxy.counting() as count:
                await turn()
            together = "" if count.in_a_row == count.round_trips else f" ({count.round_trips} requests)"
            found[name] = f"{count.in_a_row}{together}"
        return found


def _turns(storage: Storage[Any]) -> dict[str, Callable[[], Awaitable[None]]]:
    def kind(prefix: str) -> Sessions[Any]:
        return Sessions(storage, initial=lambda: session_of(400), prefix=prefix)

    sessions = kind("one:")
    group = SessionGroup(user=kind("user:"), chat=kind("chat:"), settings=kind("settings:"))

    async def untouched_lazy() -> None:
        async with sessions.lazy("chat:1"):
            pass

    async def untouched() -> None:
        async with sessions.open("chat:1"):
            pass

    async def read_only() -> None:
        async with sessions.open("chat:1") as session:
            session.data["n"]

    async def changed() -> None:
        async with sessions.open("chat:1") as session:
            session.data["n"] += 1

    async def changed_group() -> None:
        async with group.open(dict.fromkeys(("user", "chat", "settings"), "chat:1")) as parts:
            for part in (parts.user, parts.chat, parts.settings):
                part.data["n"] += 1

    return {
        "changed: 2": changed,
        "untouched lazy: 0": untouched_lazy,
        "untouched: 1": untouched,
        "read only: 1": read_only,
        "changed group: 2": changed_group,
    }
