"""How fast other libraries do the same turn on the same servers, and how many updates each loses when turns meet."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, Final

from benchmarks.measuring import Contender, compare, figures, in_tasks
from benchmarks.peers.node import Grammy, grammy
from benchmarks.peers.rivals import OPENERS, Rival, namespace, opened
from benchmarks.places import PLACES
from benchmarks.report import Setting, Table

CONTENDED: Final = 1000
AT_ONCE: Final = 16
GRAMMY: Final = "grammY, on Node"
CHAT: Final = 1_000_000  # of which no worker of the speed has a session

SPEED: Final = (
    "A turn reads a session of 400 bytes, changes a field and writes it; each worker has a session of its own. "
    "The ratios are to the first row."
)
LOST: Final = (
    f"{CONTENDED} turns of one session, {AT_ONCE} at once; where there is a server, half of them through a second "
    "instance of the library, as a second process would have. The handler lets others run once, as one does that "
    "answers. A turn that raised is refused, and not lost: its caller "
    "knows. Lost are those that were acknowledged and left no trace."
)


def answer(setting: Setting) -> Iterator[Table]:
    """Measure speed, then losses, on each backend."""
    for backend in OPENERS:
        if setting.wants(backend):
            with ExitStack() as servers, asyncio.Runner() as loop:
                place = PLACES[backend]
                url = servers.enter_context(place.server.server()) if place.server else ""
                stack = AsyncExitStack()
                try:
                    where = namespace()
                    one = loop.run(opened(stack, backend, url, where))
                    node = servers.enter_context(grammy(backend, url, where))
                    workers = [each for each in setting.workers if each <= place.most and each != 64]
                    yield Table(
                        "peers",
                        f"{backend}: turns with other libraries",
                        _speed(loop, one, node, workers, setting),
                        SPEED,
                    )
                    two = loop.run(opened(stack, backend, url, where)) if place.server else one
                    rows = [loop.run(_lost(*pair)) for pair in zip(one, two, strict=True)]
                    rows += [_lost_by(node)] if node else []
                    yield Table("peers", f"{backend}: lost updates", rows, LOST)
                finally:
                    loop.run(stack.aclose())


def _speed(
    loop: asyncio.Runner, rivals: list[Rival], node: Grammy | None, workers: list[int], setting: Setting
) -> list[dict[str, Any]]:
    contenders = [Contender(rival.name, in_tasks(loop, partial(_one, rival))) for rival in rivals]
    contenders += [Contender(GRAMMY, node.measure)] if node else []
    rows = []
    for number in workers:
        rows += figures(contenders, compare(contenders, number, setting.rounds, setting.seconds))
    return rows


def _one(rival: Rival, chat: int) -> Awaitable[None]:
    return rival.turn(chat, _add)


async def _add(data: dict[str, Any]) -> None:
    data["n"] += 1


async def _add_and_wait(data: dict[str, Any]) -> None:
    data["n"] += 1
    await asyncio.sleep(0)


def _lost_by(node: Grammy) -> dict[str, Any]:
    found = node.contend(CONTENDED, AT_ONCE)
    return {
        "": GRAMMY,
        "keeps turns apart": "nothing",
        "acknowledged": found["acknowledged"],
        "refused": found["refused"],
        "lost": found["acknowledged"] - found["count"],
        "contended turns/s": round(found["acknowledged"] / found["seconds"]),
    }


async def _lost(one: Rival, two: Rival) -> dict[str, Any]:
    """Let tasks take turns at one session through two instances, and look at what is left of them."""
    left = count()
    acknowledged = refused = 0
    began = perf_counter()

    async def work(rival: Rival) -> None:
        nonlocal acknowledged, refused
        while next(left) < CONTENDED:
            try:
                await rival.turn(CHAT, _add_and_wait)
            except Exception:  # noqa: BLE001 - whatever it raises, its caller knows
                refused += 1
            else:
                acknowledged += 1

    await asyncio.gather(*(work(rival) for rival in (one, two) * (AT_ONCE // 2)))
    seconds = perf_counter() - began
    return {
        "": one.name,
        "keeps turns apart": one.guards,
        "acknowledged": acknowledged,
        "refused": refused,
        "lost": acknowledged - await one.count(CHAT),
        "contended turns/s": round(acknowledged / seconds),
    }
