"""How things are compared here: workers that repeat a turn, in rounds that go from one contender to the next."""

import asyncio
import os
import platform
import statistics
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Final

_TURNS: Final = 10  # that each of several workers has time for in a round

Measure = Callable[[int, float], list[float]]
"""Lets so many workers repeat a turn for so many seconds; returns the seconds that each turn took."""


@dataclass(frozen=True)
class Contender:
    """One way to do a thing. Every worker has a number, for a key of its own.

    Attributes:
        name: what tables call it.
        measure: does it.
        base: the name of the contender that it is compared with; by default the first.
    """

    name: str
    measure: Measure
    base: str = ""


@dataclass
class Row:
    """What was measured of one contender with so many workers, round by round."""

    name: str
    workers: int
    p50s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)

    def add(self, turns: list[float], seconds: float) -> None:
        """Take note of one round."""
        self.p50s.append(statistics.median(turns))
        self.rates.append(len(turns) / seconds)
        self.turns += turns

    def against(self, base: "Row") -> tuple[float, float]:
        """Return the ratios of turns per second, and of the median turn; each is the median of those of the rounds."""
        more = statistics.median(mine / its for mine, its in zip(self.rates, base.rates, strict=True))
        longer = statistics.median(mine / its for mine, its in zip(self.p50s, base.p50s, strict=True))
        return more, longer

    def figures(self, base: "Row") -> dict[str, Any]:
        """Return ratios to the base, then figures, by the names of the columns of a table."""
        more, longer = self.against(base)
        p50, p99 = (statistics.quantiles(self.turns, n=100)[rank] * 1e6 for rank in (49, 98))
        return {
            "p50, ratio": round(longer, 2),
            "turns/s, ratio": round(more, 2),
            "p50 µs": round(p50, 1),
            "p99 µs": round(p99, 1),
            "turns/s": round(statistics.median(self.rates)),
        }

    def line(self, base: "Row") -> str:
        """Return the row of the table: ratios to the base, then figures."""
        more, longer = self.against(base)
        p50, p99 = (statistics.quantiles(self.turns, n=100)[rank] * 1e6 for rank in (49, 98))
        rate = statistics.median(self.rates)
        return f"| {self.name} | {self.workers} | {more:.2f} | {longer:.2f} | {rate:,.0f} | {p50:,.0f} | {p99:,.0f} |"


def in_threads(turn: Callable[[int], None]) -> Measure:
    """Measure a blocking turn: a worker is a thread."""

    def measure(workers: int, seconds: float) -> list[float]:
        start = threading.Barrier(workers)
        taken: list[list[float]] = [[] for _ in range(workers)]

        def work(number: int) -> None:
            start.wait()
            end = perf_counter() + seconds
            while (before := perf_counter()) < end:
                turn(number)
                taken[number].append(perf_counter() - before)

        threads = [threading.Thread(target=work, args=[number]) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [each for one in taken for each in one]

    return measure


def in_tasks(loop: asyncio.Runner, turn: Callable[[int], Awaitable[Any]]) -> Measure:
    """Measure an asynchronous turn: a worker is a task of one event loop."""

    async def work(number: int, seconds: float) -> list[float]:
        taken = []
        end = perf_counter() + seconds
        while (before := perf_counter()) < end:
            await turn(number)
            taken.append(perf_counter() - before)
        return taken

    async def together(workers: int, seconds: float) -> list[list[float]]:
        return await asyncio.gather(*(work(number, seconds) for number in range(workers)))

    return lambda workers, seconds: [each for one in loop.run(together(workers, seconds)) for each in one]


def compare(contenders: Sequence[Contender], workers: int, rounds: int, seconds: float) -> list[Row]:
    """Measure the contenders with so many workers each, in turn.

    One worker has ten times as many rounds, of a tenth: the shorter a round, the more it is the same machine for all.
    With several, a round has time for ten turns of each, or turns per second were those of the slowest worker's first.
    """
    if workers == 1:
        rounds, seconds = 10 * rounds, seconds / 10
    rows = [Row(contender.name, workers) for contender in contenders]
    for contender in contenders:
        contender.measure(workers, seconds / 10)  # connections are opened, caches filled
    if workers > 1:
        longest = max(statistics.median(contender.measure(workers, seconds / 10)) for contender in contenders)
        seconds = max(seconds, _TURNS * longest)
    for _ in range(rounds):
        for contender, row in zip(contenders, rows, strict=True):
            began = perf_counter()
            turns = contender.measure(workers, seconds)
            row.add(turns, perf_counter() - began)  # the last turns end when they end
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return a table, in which the first row is what the others are compared with."""
    head = "| | workers | turns/s, ratio | p50, ratio | turns/s | p50 µs | p99 µs |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *(row.line(rows[0]) for row in rows)])


def figures(contenders: Sequence[Contender], rows: Sequence[Row], **before: Any) -> list[dict[str, Any]]:
    """Return the rows of a table; each is compared with its contender's base. `before` is what stands before them."""
    by_name = {row.name: row for row in rows}
    return [
        {"": row.name, **before, "workers": row.workers, **row.figures(by_name[contender.base or rows[0].name])}
        for contender, row in zip(contenders, rows, strict=True)
    ]


def machine(*distributions: str) -> str:
    """Return where this is measured, and with which versions."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    here = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"
    return ", ".join([here, *(f"{name} {version(name)}" for name in distributions)])


def processor() -> str:
    """Return what the processor calls itself, where the system tells."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
