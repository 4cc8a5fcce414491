"""Ride through all scenarios, and print the figures."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.table import Table

from conformance.chaos import targets
from conformance.chaos.figures import Outcome
from conformance.chaos.ride import TIMEOUT, Target, ride
from satchel_conformance.backends import BackendMissing

Start = Callable[[], AbstractContextManager[Target]]

SCENARIOS: Final[Mapping[str, Start]] = MappingProxyType(
    {
        "Redis Cluster, wait_replicas=1": targets.cluster,
        "Redis, appendfsync always": targets.one_redis,
        "MongoDB, replica set of three": targets.replica_set,
        "PostgreSQL": targets.postgres,
    }
)
# What acknowledges before it is safe: the same run has to find updates lost.
UNSAFE: Final[Mapping[str, Start]] = MappingProxyType(
    {
        "Redis Cluster, wait_replicas=0": partial(targets.cluster, wait_replicas=0),
        "Redis, appendonly no": partial(targets.one_redis, durable=False),
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ride, print, and return 0 if all that must hold did."""
    parser = argparse.ArgumentParser(prog="python -m conformance.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="strike with each fault so often; 2")
    parser.add_argument("--only", default="", metavar="NAME", help="ride the scenarios whose name contains NAME")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="ride servers that acknowledge early; fail if that is not noticed",
    )
    options = parser.parse_args(arguments)
    scenarios = UNSAFE if options.self_test else SCENARIOS
    outcomes = []
    for name, start in scenarios.items():
        if options.only.lower() in name.lower():
            _say(f"chaos: {name}")
            try:
                with start() as target:
                    outcomes.append(asyncio.run(ride(name, target, options.rounds)))
            except BackendMissing as error:
                _say(f"chaos: {name} cannot be tried: {error}")
                return 2
    if options.json:
        sys.stdout.write(json.dumps([outcome.as_json() for outcome in outcomes], indent=2) + "\n")
    else:
        show(outcomes)
    if options.self_test:
        blind = [outcome.scenario for outcome in outcomes if not outcome.lost]
        for name in blind:
            _say(f"chaos: {name}: no lost update was noticed")
        return 1 if blind or not outcomes else 0
    return 1 if not outcomes or any(outcome.wrong for outcome in outcomes) else 0


def show(outcomes: Sequence[Outcome]) -> None:
    """Print a row for each fault, a line for each scenario, and what is wrong."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table("server", "fault")
    for heading in ("outage s", "recovered s", "before /s", "during /s", "after /s", "raised"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        for number, each in enumerate(outcome.faults):
            rates = (f"{rate:.0f}" for rate in (each.before, each.during, each.after))
            raised = "\n".join(f"{times} {error.removesuffix('Error')}" for error, times in each.errors.items())
            first = "" if number else outcome.scenario
            table.add_row(first, each.fault, f"{each.outage:.2f}", f"{each.recovered:.2f}", *rates, raised)
        table.add_section()
    console.print(table)
    for outcome in outcomes:
        console.print(
            f"{outcome.scenario}: {outcome.acknowledged} updates acknowledged, {outcome.lost} lost; "
            f"the slowest took {outcome.slowest:.2f} s",
            highlight=False,
        )
        for wrong in outcome.wrong:
            console.print(f"  wrong: {wrong}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        "outage: the longest that a session took no update; recovered: how long after the strike all did again; "
        f"the timeout of a call is {TIMEOUT.total_seconds():g} s",
        highlight=False,
    )


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
