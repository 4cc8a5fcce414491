"""Flows: conversations that go from state to state, as in Stealth.

    shop = FlowMap(
        Flow("hello", State("say_hello", say_hello), State("get_name", get_name, fails_to="say_hello")),
        Flow("checkout", State("ask_address", ask_address), State("get_address", get_address)),
    )
    bot = Conversations(shop, Sessions(storage, initial=dict), start="hello")

    await bot.handle(update)

A handler is given a `Turn`, which knows the update, the session's data, and how to step on.
"""

from satchel.flow.apscheduling import APSchedulerJobs
from satchel.flow.conversations import Conversations, Interrupt
from satchel.flow.maps import Flow, FlowMap, Handler, Place, State
from satchel.flow.positions import Places
from satchel.flow.scheduling import Job, RunJob, Scheduler
from satchel.flow.slugs import format_slug, parse_slug
from satchel.flow.storage_scheduler import StorageScheduler
from satchel.flow.turns import Turn

__all__ = [
    "APSchedulerJobs",
    "Conversations",
    "Flow",
    "FlowMap",
    "Handler",
    "Interrupt",
    "Job",
    "Place",
    "Places",
    "RunJob",
    "Scheduler",
    "State",
    "StorageScheduler",
    "Turn",
    "format_slug",
    "parse_slug",
]
