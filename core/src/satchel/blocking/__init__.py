"""The same for bots without asyncio: Slack Bolt, Flask, AWS Lambda. Every name is that of the asynchronous one.

    from satchel.blocking import Sessions, open_storage

    storage = open_storage("sqlite:///bot.db")
    sessions = Sessions(storage, initial=lambda: {"pizza": 0})

    with sessions.open("chat:42") as session:
        session.data["pizza"] += 1

Everything may be used from any number of threads. The work is done on one event loop, in a thread that is started when
it is first needed and ends with the process; a process that is forked starts its own.
"""

from satchel.blocking.assistant import Assistant
from satchel.blocking.conversations import Conversations, Interrupt
from satchel.blocking.groups import Parts, SessionGroup
from satchel.blocking.handlers import Handler, State
from satchel.blocking.loop import run
from satchel.blocking.schedulers import StorageScheduler
from satchel.blocking.scopes import Scope, Scopes
from satchel.blocking.session import LazySession, Session
from satchel.blocking.sessions import Sessions
from satchel.blocking.storage import Storage, open_storage
from satchel.blocking.turns import Turn
from satchel.flow import Flow, FlowMap, Place, Places

__all__ = [
    "Assistant",
    "Conversations",
    "Flow",
    "FlowMap",
    "Handler",
    "Interrupt",
    "LazySession",
    "Parts",
    "Place",
    "Places",
    "Scope",
    "Scopes",
    "Session",
    "SessionGroup",
    "Sessions",
    "State",
    "Storage",
    "StorageScheduler",
    "Turn",
    "open_storage",
    "run",
]
