"""Try every storage on the scoreboard with the whole suite, and write docs/scoreboard.md."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from conformance.peers import aiogram_fsm, keyvalue, litestar_stores, ours, telebot_states
from conformance.peers.page import Peer, Score, excused, page
from satchel import StorageError, open_storage
from satchel_conformance import Report, Result, Status, select, validate
from satchel_conformance.backends import BackendMissing
from satchel_conformance.bench import Factory

PAGE: Final = Path(__file__).parents[2] / "docs" / "scoreboard.md"
PEERS: Final[tuple[Peer, ...]] = (
    *ours.PEERS,
    *keyvalue.PEERS,
    *aiogram_fsm.PEERS,
    *litestar_stores.PEERS,
    *telebot_states.PEERS,
)

_PATIENCE: Final = 15.0  # seconds for a server to answer
_AGAIN: Final = 5  # times


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all storages, and write the page or compare it."""
    parser = argparse.ArgumentParser(prog="python -m conformance.peers", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the page is out of date")
    parser.add_argument("--only", metavar="NAME", help="print the storages whose name contains NAME, and write nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL)  # what drivers say of connections that the suite cuts is no news
    scores: list[Score] = []
    with ExitStack() as servers:
        urls: dict[str, str] = {}
        for peer in PEERS:
            if options.only is None or options.only.lower() in peer.name.lower():
                _say(peer.name)
                try:
                    scores.append(score(peer, servers, urls))
                except (BackendMissing, StorageError) as error:
                    _say(f"scoreboard: {peer.name} cannot be tried: {error}")
                    return 2
    written = page(scores)
    if options.only is not None:
        sys.stdout.write(written)
    elif not options.check:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(written, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != written:
        _say("scoreboard: docs/scoreboard.md is out of date; to write it: nox -s scoreboard")
        return 1
    return 0


def score(peer: Peer, servers: ExitStack, urls: dict[str, str]) -> Score:
    """Try one storage; a server is started when it is first wanted.

    Raises:
        BackendMissing: there is no server for it.
        StorageError: the server does not answer.
    """
    bridge = peer.bridge
    if peer.server is not None:
        if peer.server.name not in urls:
            urls[peer.server.name] = servers.enter_context(peer.server.server())
        url = urls[peer.server.name]
        bridge = bridge.format(server=url) if isinstance(bridge, str) else partial(bridge, url)
    return Score(peer, asyncio.run(_try(peer, bridge)))


async def _try(peer: Peer, bridge: Factory | str) -> Report:
    await _answers(partial(open_storage, bridge) if isinstance(bridge, str) else bridge)
    reasons = reason_of_each(peer.not_promised)
    report = await validate(bridge, shared=peer.shared, progress=_tell)
    for _ in range(_AGAIN):  # what is not promised may hold by luck, where one call has to meet another
        if held := [one.clause for one in report.results if one.status is Status.PASSED and one.clause in reasons]:
            again = await validate(bridge, shared=peer.shared, clauses=held, progress=_tell)
            failed = {one.clause: one for one in again.results if one.status is Status.FAILED}
            report = replace(report, results=tuple(failed.get(one.clause, one) for one in report.results))
    return excused(report, reasons)


async def _answers(bridge: Factory) -> None:
    """Wait until the server answers: one that has only just started must not count as failures of the storage."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            async with bridge() as storage:
                await storage.read("nobody")
                return
        except StorageError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


def reason_of_each(not_promised: Mapping[str, str]) -> dict[str, str]:
    """Return the reason for each clause; of two globs that mean it, the later one counts.

    Raises:
        ValueError: a glob means no clause.
    """
    return {clause.id: reason for glob, reason in not_promised.items() for clause in select([glob])}


def _tell(result: Result) -> None:
    if result.status is not Status.NOT_APPLICABLE:
        _say(f"  {result.status:<8}  {result.seconds:6.2f} s  {result.clause}")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
