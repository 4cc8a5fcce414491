"""A bot with a flow map, for the tests of flows."""

from typing import Any

from recording import Recording
from satchel import Sessions
from satchel.flow import Conversations, Flow, FlowMap, State, Turn

CHAT = "chat:1"


def message(text: str, chat: int = 1) -> dict[str, Any]:
    return {"chat": {"id": chat}, "from": {"id": 7}, "text": text}


class Shop:
    """A bot that says which states ran, and does in each what a test wants it to do there.

    Attributes:
        ran: what ran, with what was said to it.
        does: by state, what its handler does beside that.
    """

    def __init__(self, storage: Any = None, **options: Any) -> None:
        self.ran: list[str] = []
        self.does: dict[str, Any] = {}
        self.storage: Any = Recording() if storage is None else storage
        self.sessions: Sessions[Any] = options.pop("sessions", None) or Sessions(self.storage, initial=dict)
        self.flows = FlowMap(
            Flow("hello", self.state("say_hello"), self.state("get_name"), self.state("say_bye")),
            Flow(
                "checkout",
                self.state("ask_address"),
                self.state("get_address", fails_to="say_sorry"),
                self.state("say_sorry"),
                State("ask_street", redirects_to="ask_address"),
            ),
        )
        self.bot = Conversations(self.flows, self.sessions, start="hello", **options)

    def state(self, name: str, **options: Any) -> State:
        async def handler(turn: Turn[Any]) -> None:
            self.ran.append(f"{name} {turn.update and turn.update['text']}")
            if name in self.does:
                await self.does[name](turn)

        return State(name, handler, **options)

    async def put(self, current: str, **fields: Any) -> None:
        await self.storage.write(CHAT, {"flow": {"current": current, **fields}})
