"""What is shown while records go by: a bar on a terminal, what went wrong on standard error, and a summary."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Final

import typer

from satchel.cli.common import Code, errors_in_one_line, plain, say
from satchel.upkeep.outcomes import Outcome, Result, Summary

Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Name every record that differs or failed, not the first 20 of each.")
]

_SHOWN: Final = 20  # records that differ, and as many that failed
_EVERY: Final = 0.1  # seconds between two drawings


def tallied(
    words: Mapping[Result, str],
    work: Callable[[Callable[[Outcome], None]], Coroutine[Any, Any, Any]],
    *,
    again: str,
    as_json: bool,
    verbose: bool,
    aside: bool = False,
) -> None:
    """Run what goes through many records, and end with a summary, and the exit code that it calls for.

    Args:
        words: what each result is called; those that cannot be are left out.
        work: is given what to tell of each record.
        again: how to go on if it ends early.
        as_json: whether the summary is JSON.
        verbose: whether every record that differs or failed is named.
        aside: standard output has something else on it, so the summary goes to standard error.
    """
    tally, start, code = Summary(), time.monotonic(), Code.OK
    try:
        with errors_in_one_line(), _shown(words, tally, verbose=verbose) as tell:
            asyncio.run(work(tell))
    except typer.Exit as ended:
        code = Code(ended.exit_code)
    counts = {word: getattr(tally, result.value) for result, word in words.items()}
    if code in (Code.FAILED, Code.USAGE) and not any(counts.values()):
        raise typer.Exit(code)
    if code is not Code.OK:
        say(f"it ended early; what is done is whole, and stays. {again}")
    elif not tally.is_complete:
        code = Code.PARTLY
    seconds = time.monotonic() - start
    if as_json:
        report = {word.replace(" ", "_"): count for word, count in counts.items()} | {"seconds": round(seconds, 3)}
        typer.echo(json.dumps(report), err=aside)
    else:
        typer.echo(f"{_line(counts)} in {seconds:.1f} s", err=aside)
    raise typer.Exit(code)


@contextmanager
def _shown(words: Mapping[Result, str], tally: Summary, *, verbose: bool) -> Iterator[Callable[[Outcome], None]]:
    """Give what counts an outcome, names it if it is a bad one, and draws the bar if there is a terminal."""
    named = Counter[Result]()

    with _bar() as (draw, tell_line):

        def tell(outcome: Outcome) -> None:
            tally.add(outcome)
            draw(lambda: {word: getattr(tally, result.value) for result, word in words.items()})
            if outcome.result in (Result.FAILED, Result.DIFFERING):
                named[outcome.result] += 1
                if verbose or named[outcome.result] <= _SHOWN:
                    why = f": {outcome.why}" if outcome.why else ""
                    tell_line(f"{words[outcome.result]}: {plain(outcome.key)}{why}")
                elif named[outcome.result] == _SHOWN + 1:
                    tell_line(f"{words[outcome.result]}: more, which --verbose names")

        yield tell


@contextmanager
def _bar() -> Iterator[tuple[Callable[[Callable[[], Mapping[str, int]]], None], Callable[[str], None]]]:
    """Give what draws a bar with counts, and what writes a line above it, both on standard error; no bar in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _: None, partial(typer.echo, err=True)
        return
    # Only where there is a terminal, as it takes long to import.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task, drawn, start = bar.add_task("", total=None), 0.0, time.monotonic()

        def draw(counts: Callable[[], Mapping[str, int]]) -> None:
            nonlocal drawn
            if (now := time.monotonic()) - drawn > _EVERY:
                drawn = now
                found = counts()
                speed = sum(found.values()) / max(now - start, _EVERY)
                bar.update(task, description=f"{_line(found)}, {speed:,.0f}/s")

        yield draw, bar.console.print


def _line(counts: Mapping[str, int]) -> str:
    """Return the counts, the first one also if it is zero."""
    first = next(iter(counts))
    return ", ".join(f"{count:,} {word}".replace(",", " ") for word, count in counts.items() if count or word == first)
