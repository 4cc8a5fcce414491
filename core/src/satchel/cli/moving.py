"""Commands that move all records: `copy`, `export`, `import`."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Annotated

import typer

from satchel import upkeep
from satchel.cli.common import Code, Json, Prefix, Storage, Yes, confirm, stop
from satchel.cli.progress import Verbose, tallied
from satchel.cli.storages import AnyCodecOption, AnyStored, CodecOption, existing, make, using
from satchel.upkeep.outcomes import Progress, Result

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write over what differs. It asks first.")]

_PLACED = {Result.SAME: "already there", Result.DIFFERING: "differing", Result.FAILED: "failed"}
_COPIED = {Result.DONE: "copied", **_PLACED, Result.GONE: "gone meanwhile", Result.PRUNED: "pruned"}
_IMPORTED = {Result.DONE: "imported", **_PLACED}
_EXPORTED = {Result.DONE: "exported", Result.FAILED: "failed", Result.GONE: "gone meanwhile"}
_AGAIN = "Do the same again to go on: what is there is compared, and not written again."


def copy(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Any storage that can list its keys.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Any other one.")],
    prefix: Prefix = "",
    to_prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What takes the place of --prefix in DST.")
    ] = None,
    overwrite: Overwrite = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete what only DST has. It asks first.")] = False,
    codec: AnyCodecOption = "json",
    to_codec: Annotated[
        AnyStored | None, typer.Option("--to-codec", help="How values are stored in DST, if not as in SRC.")
    ] = None,
    verbose: Verbose = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Copy all records from one storage to another, while bots run.

    A record is created only where DST has none, so nothing that a bot has written there is overwritten. Each is read
    back and compared with SRC as it is by then. Do it again to go on after an interruption, or to compare.
    """
    changes = [change for change, wanted in (("overwrite what differs", overwrite), ("prune", prune)) if wanted]
    if "raw" in (codec, to_codec) and to_codec not in (None, codec):
        stop("--codec raw is for both storages", Code.USAGE)

    async def work(tell: Progress) -> None:
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(using(await make(source, codec, **existing(source))))
            there = await stack.enter_async_context(using(await make(target, to_codec or codec)))
            await upkeep.copy(
                here, there, prefix=prefix, to_prefix=to_prefix, overwrite=overwrite, prune=prune, progress=tell
            )

    if changes:
        confirm(f"Copy, and {' and '.join(changes)} in the second storage?", yes)
    tallied(_COPIED, work, again=_AGAIN, as_json=as_json, verbose=verbose)


def export(
    storage: Storage,
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Written aside, and moved to its place; - is standard output.")
    ] = Path("-"),
    prefix: Prefix = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    codec: CodecOption = "json",
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Write all records as JSON Lines: {"key": …, "value": …}. The summary of one to standard output is on stderr."""
    to_stdout = str(file) == "-"
    place = Path(os.path.realpath(file))  # else a link would be replaced, and what it leads to left as it was
    circle = place.is_symlink()
    if not to_stdout and (file.exists() or circle) and not file.is_file():
        stop(f"{file} is no regular file, and is not replaced: leave it out, and redirect standard output", Code.USAGE)
    if not to_stdout and file.exists() and not overwrite:
        stop(f"{file} is there already: say --overwrite to replace it", Code.USAGE)

    async def work(tell: Progress) -> None:
        async with using(await make(storage, codec, **existing(storage))) as source:
            out: IO[bytes] | Path = sys.stdout.buffer if to_stdout else place
            await upkeep.export_lines(source, out, prefix=prefix, progress=tell)
            if to_stdout:
                sys.stdout.buffer.flush()

    again = "What was printed is not all." if to_stdout else f"There is no new {file}: do it again."
    tallied(_EXPORTED, work, again=again, as_json=as_json, verbose=verbose, aside=to_stdout)


def import_(
    storage: Storage,
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="What export wrote; - is standard input.")] = Path("-"),
    overwrite: Overwrite = False,
    codec: CodecOption = "json",
    verbose: Verbose = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Write the records of a file of JSON Lines, as copy does: only where there are none.

    All lines are read first: if one is broken, it is named by its number, and nothing is written.
    """
    if overwrite:
        confirm("Import, and overwrite what differs in the storage?", yes)

    async def work(tell: Progress) -> None:
        with _opened(file) as lines:
            async with using(await make(storage, codec)) as target:
                await upkeep.import_lines(target, lines, overwrite=overwrite, progress=tell)

    tallied(_IMPORTED, work, again=_AGAIN, as_json=as_json, verbose=verbose)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a file, or put standard input into one that can be read twice."""
    if str(file) == "-":
        with tempfile.TemporaryFile() as spooled:
            copyfileobj(sys.stdin.buffer, spooled)
            spooled.seek(0)
            yield spooled
        return
    try:
        lines = file.open("rb")
    except OSError as error:
        stop(f"{file} cannot be read: {error.strerror}", Code.USAGE)
    with lines:
        yield lines
