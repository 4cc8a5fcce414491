"""What all commands share: options, exit codes, errors in one line, asking before something is destroyed."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any, Final, NoReturn, TypeVar, cast

import typer
from typer.core import TyperGroup

from satchel.errors import ConflictError, InvalidKeyError, SatchelError
from satchel.keys import show

T = TypeVar("T")


class Code(IntEnum):
    """How a command exits."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    OTHERWISE = 4
    INTERRUPTED = 130


CODES: Final = {
    Code.OK: "all is done",
    Code.FAILED: "a storage failed, or refused, or the output could not be written",
    Code.USAGE: "wrong usage, or not confirmed; nothing was done",
    Code.PARTLY: "done, but not for every record: some differ, failed or remain",
    Code.OTHERWISE: "the record is not as it has to be: none to get or rename, one where none may be",
    Code.INTERRUPTED: "interrupted (Ctrl-C)",
}

Storage = Annotated[
    str,
    typer.Argument(
        metavar="STORAGE",
        help="A URL, such as sqlite:///bot.db or redis://localhost, or MODULE:FACTORY, what makes a storage in Python.",
    ),
]
Prefix = Annotated[str, typer.Option(metavar="TEXT", help="Only keys that start with it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_UsageError: Final = cast("type[Exception]", typer.BadParameter.__mro__[1])  # which typer does not name
_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s'\"]+", re.IGNORECASE)


class Discreet(TyperGroup):
    """A group of commands that repeats no URL in its messages: it may hold a password."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line, and say in one line that it cannot print."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            say(_failed(error))
            sys.exit(Code.FAILED)
        finally:
            try:
                sys.stdout.flush()
            except OSError:  # Python would try again at its end, and exit with 120
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def invoke(self, ctx: Any) -> Any:
        """Find a command, and call it."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            vars(error)["message"] = discreet(vars(error)["message"])
            raise


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work, and end with one line on standard error if it fails or is interrupted."""
    with errors_in_one_line():
        return asyncio.run(work)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End with one line on standard error where Satchel raises, what is read or written fails, and after Ctrl-C."""
    try:
        yield
    except ConflictError as error:
        stop(str(error), Code.OTHERWISE)
    except InvalidKeyError as error:
        stop(str(error), Code.USAGE)
    except SatchelError as error:
        stop(str(error), Code.FAILED)
    except BrokenPipeError:
        raise  # the reader has enough, as `head` does: typer ends without a word
    except OSError as error:
        stop(_failed(error), Code.FAILED)
    except KeyboardInterrupt:
        stop("interrupted", Code.INTERRUPTED)


def _failed(error: OSError) -> str:
    return f"{error.filename or 'input or output failed'}: {error.strerror or error}"


def raised(error: Exception) -> str:
    """Return what somebody else's code raised, in one line."""
    return " ".join([f"{type(error).__name__}:", *discreet(str(error)).split()]).removesuffix(":")


def discreet(text: str) -> str:
    """Return a text with no more than the schemes of its URLs."""
    return _URL.sub(r"\1…", text)


def stop(message: str, code: Code) -> NoReturn:
    """End with a line on standard error."""
    say(message)
    raise typer.Exit(code)


def say(message: str) -> None:
    """Print a line for a person on standard error."""
    typer.echo(f"satchel: {message}", err=True)


def confirm(question: str, yes: bool) -> None:
    """Ask whether to go on, unless it was said already; end with exit code 2 if not, and if there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        stop(f"{question} Nobody is here to ask: say --yes", Code.USAGE)
    if not typer.confirm(f"satchel: {question}", err=True):
        stop("nothing was done", Code.USAGE)


def dump(value: Any) -> None:
    """Print a value as one line of JSON on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def plain(key: str) -> str:
    """Return a key for a line of text: as it is, or quoted and escaped if that would not be one."""
    return key if key.isprintable() and not key.startswith(("'", '"')) else show(key)


def many(number: int, thing: str) -> str:
    """Return a number of things: `1 key`, `2 000 keys`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}".replace(",", " ")
