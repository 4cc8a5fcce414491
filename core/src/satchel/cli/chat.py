"""A console chat with a bot that counts messages and pizzas and remembers names."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import platformdirs
import typer

from satchel.errors import SatchelError
from satchel.keys import session_key
from satchel.sessions import Session, Sessions
from satchel.storage import Storage

_NAME: Final = re.compile(r"\b(?:my name is|i am|i'm|call me)\s+([^\W\d_][\w'-]*)", re.IGNORECASE)
_PIZZA: Final = re.compile(r"pizza|\N{SLICE OF PIZZA}", re.IGNORECASE)
_HELP: Final = "/state  what I remember   /session  where   /reset  forget it   /quit"


def default_url() -> str:
    """Return the URL of a file in the user's data folder, which is created."""
    folder = Path(platformdirs.user_data_dir("satchel", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'chat.db').as_posix().replace('%', '%25').replace('?', '%3F').replace('#', '%23')}"


def chat(storage: Storage[Any], user: str) -> None:
    """Answer each line of standard input on standard output, until it ends or says /quit.

    Raises:
        StorageError: the storage cannot be opened.
    """
    key = session_key("console", user)
    sessions = Sessions(storage, initial=lambda: {"messages": 0, "pizzas": 0}, activity=timedelta(minutes=1))
    with asyncio.Runner() as loop:
        loop.run(storage.setup())
        try:
            for line in _lines():
                if line == "/quit":
                    break
                try:
                    typer.echo(loop.run(answer(sessions, storage, key, line)))
                except SatchelError as error:  # this message was not counted; the next one may be
                    typer.echo(f"satchel: {error}", err=True)
        finally:
            # A second Ctrl-C, as `timeout -s INT` sends one, would keep the storage from being closed.
            try:
                handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
            except KeyboardInterrupt:  # it is here already
                handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
            loop.run(storage.aclose())
            signal.signal(signal.SIGINT, handler)


async def answer(sessions: Sessions[Any], storage: Storage[Any], key: str, text: str) -> str:
    """Return what the bot says to one message or command, and remember it."""
    async with sessions.open(key) as session:
        match text.split():
            case ["/state"]:
                return json.dumps(session.data, ensure_ascii=False, indent=2)
            case ["/session"]:
                return f"{key} in {storage!r}, {_since(session)}"
            case ["/reset"]:
                session.delete()
                return "Forgotten."
            case [command, *_] if command.startswith("/"):
                return _HELP
        data = session.data
        data["messages"] += 1
        data["pizzas"] += len(_PIZZA.findall(text))
        if name := _NAME.search(text):
            data["name"] = name[1]
        return greeting(data)


def _since(session: Session[Any]) -> str:
    if session.is_new:
        return "not stored yet"
    last = session.last_activity
    return "stored" if last is None else f"stored, last active {last.astimezone().isoformat(' ', 'seconds')}"


def greeting(data: dict[str, Any]) -> str:
    """Return the bot's answer: the name, and the counts so far."""
    hello = f"Hello, {data['name']}!" if "name" in data else "Hello! (Tell me: my name is …)"
    pizzas = f" and {_count(data['pizzas'], 'pizza')}" if data["pizzas"] else ""
    return f"{hello} {_count(data['messages'], 'message')}{pizzas} so far."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _lines() -> Iterator[str]:
    """Read lines from a pipe, or from a person at a prompt."""
    if not sys.stdin.isatty():
        for line in sys.stdin.buffer:
            if text := line.decode(errors="replace").strip():
                yield text
        return
    typer.echo(_HELP)
    while True:
        try:
            text = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if text:
            yield text.encode(errors="replace").decode()
