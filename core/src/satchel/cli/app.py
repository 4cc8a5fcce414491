"""The commands of `satchel`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated

import typer

from satchel.adapter import EncodedStorage
from satchel.cli.chat import chat as talk
from satchel.cli.chat import default_url
from satchel.errors import SatchelError
from satchel.urls import open_storage

app = typer.Typer(
    help="Sessions for chat bots: talk to one, look after their storage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

URL = Annotated[str, typer.Argument(help="The storage, such as sqlite:///bot.db or redis://localhost.")]


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version, and end.", is_eager=True)] = False,
) -> None:
    """Print the version if asked to."""
    if show_version:
        typer.echo(f"satchel {version('satchel')}")
        raise typer.Exit


@app.command()
def chat(
    url: Annotated[
        str | None,
        typer.Argument(help="The storage, such as redis://localhost; by default a file in your data folder."),
    ] = None,
    user: Annotated[str, typer.Option("--as", metavar="USER", help="Whose conversation it is.")] = "you",
) -> None:
    """Talk to a bot that remembers: end it, start it again, and it still knows.

    It counts messages and pizzas, and knows your name once you say "my name is …".
    Commands: /state /session /reset /quit. It reads a pipe as well as a terminal.
    """
    with errors_in_one_line():
        talk(open_storage(url or default_url()), user)


@app.command()
def schema(url: URL) -> None:
    """Print what an administrator creates for a storage: tables, indexes, rights. Nothing is connected."""
    with errors_in_one_line():
        storage = open_storage(url)
        text = storage.schema() if isinstance(storage, EncodedStorage) else ""
        typer.echo(text.strip() or f"{url.split(':')[0]}: there is nothing to set up")


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End with exit code 1 and one line on stderr where Satchel raises."""
    try:
        yield
    except SatchelError as error:
        sys.exit(f"satchel: {error}")
