"""The commands of `satchel`."""

from importlib.metadata import version
from typing import Annotated

import typer

from satchel.cli import doctor, moving, records, upkeep
from satchel.cli.chat import chat as talk
from satchel.cli.chat import default_url
from satchel.cli.common import CODES, Discreet, errors_in_one_line
from satchel.urls import open_storage

app = typer.Typer(
    cls=Discreet,
    help="Sessions for chat bots: talk to one, look after their storage.",
    epilog="Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in CODES.items()) + ".",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.command()(records.keys)
app.command()(records.get)
app.command("set")(records.set_)
app.command()(records.delete)
app.command()(records.rename)
app.command()(moving.copy)
app.command()(moving.export)
app.command("import")(moving.import_)
app.command()(upkeep.erase)
app.command()(upkeep.purge)
app.command()(upkeep.migrate)
app.command()(doctor.schema)
app.command()(doctor.doctor)
