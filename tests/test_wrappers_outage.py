"""Wrappers when a real server is away."""

import asyncio
from datetime import timedelta
from pathlib import Path

from satchel import Sessions, open_storage
from satchel.wrappers import Fallback, Mirrored, Retrying
from satchel_conformance.proxy import Proxy, Refuse, address_in
from satchel_redis import RedisStorage
from satchel_sqlite import SQLiteStorage

NAMESPACE = "outage"
SHORT = timedelta(milliseconds=20)


async def test_a_session_is_saved_though_the_server_is_away_for_a_moment(redis_url: str) -> None:
    with Proxy(*address_in(redis_url)) as proxy:
        inside = open_storage(proxy.url(redis_url), namespace=NAMESPACE)
        async with Retrying(inside, attempts=1000, first_wait=SHORT, longest_wait=SHORT) as storage:
            sessions = Sessions(storage, initial=lambda: {"n": 0})
            await sessions.delete("retried")
            async with sessions.open("retried") as session:
                session.data["n"] = 1
                proxy.arm(Refuse())
                asyncio.get_running_loop().call_later(0.1, proxy.heal)
            assert await sessions.read("retried") == {"n": 1}
            await sessions.delete("retried")


async def test_a_session_can_be_read_from_a_mirror_while_the_server_is_away(redis_url: str, tmp_path: Path) -> None:
    with Proxy(*address_in(redis_url)) as proxy:
        main = RedisStorage[object](proxy.url(redis_url), namespace=NAMESPACE)
        spare = SQLiteStorage[object](tmp_path / "spare.db")
        async with Fallback(Mirrored(main, spare), spare) as storage:
            await storage.write("mirrored", {"n": 1})
            proxy.arm(Refuse())
            async with Sessions(storage).open("mirrored") as session:
                assert session.data == {"n": 1}
            proxy.heal()
            await main.delete("mirrored")
