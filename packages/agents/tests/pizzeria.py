"""An agent that takes orders, on an adapter that only notes what is sent; as a program, in another process.

As a program it says that it is ready, and orders when it is told to.
"""

import asyncio
import sys
from typing import Any

from microsoft_agents.activity import Activity, ResourceResponse
from microsoft_agents.hosting.core import (
    AgentApplication,
    ApplicationOptions,
    ChannelAdapter,
    Connections,
    Storage,
    TurnContext,
    TurnState,
)

from satchel import LeaseLock, open_storage
from satchel_agents import AgentStorage, SequentialTurns


class NoConnections(Connections):
    """Nobody signs in here."""

    def get_connection(self, connection_name: str) -> Any:
        raise NotImplementedError

    def get_default_connection(self) -> Any:
        raise NotImplementedError

    def get_token_provider(self, claims_identity: Any, service_url: str) -> Any:
        raise NotImplementedError

    def get_token_provider_from_activity(self, claims_identity: Any, activity: Any) -> Any:
        raise NotImplementedError

    def get_default_connection_configuration(self) -> Any:
        raise NotImplementedError


class Adapter(ChannelAdapter):
    """Runs turns, and keeps the texts that are sent in them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sent: list[str | None] = []

    async def send_activities(self, context: Any, activities: list[Activity]) -> list[ResourceResponse]:
        self.sent += [activity.text for activity in activities]
        return [ResourceResponse(id="1") for _ in activities]

    async def update_activity(self, context: Any, activity: Activity) -> Any:
        raise NotImplementedError

    async def delete_activity(self, context: Any, reference: Any) -> Any:
        raise NotImplementedError

    async def receive(self, app: AgentApplication[TurnState], text: str, conversation: str = "c1") -> None:
        """Take a message of a user."""
        activity = Activity.model_validate(
            {
                "type": "message", "id": "a1", "text": text, "channelId": "msteams", "serviceUrl": "https://teams.example",
                "from": {"id": "u1"}, "recipient": {"id": "bot"}, "conversation": {"id": conversation},
            }
        )  # fmt: skip
        await self.run_pipeline(TurnContext(self, activity), app.on_turn)


def pizzeria(storage: Storage, together: asyncio.Barrier | None = None) -> AgentApplication[TurnState]:
    """An agent that counts, for a conversation, how often each thing was ordered, and, for a user, all orders."""
    options = ApplicationOptions(storage=storage, start_typing_timer=False)
    app = AgentApplication[TurnState](options, connection_manager=NoConnections())

    @app.activity("message")
    async def order(context: TurnContext, state: TurnState) -> None:
        what = context.activity.text or ""
        properties: Any = state.conversation  # which may be more than the StoreItems that they are declared to be
        count = (properties.get_value(what) or 0) + 1
        if together is not None:
            await together.wait()  # every turn has read its state
        properties.set_value(what, count)
        await context.send_activity(f"{what}: {count}")

    return app


async def main(url: str, namespace: str, count: str) -> None:
    async with open_storage(url, namespace=namespace) as storage:
        adapter, app = Adapter(), pizzeria(AgentStorage(storage))
        adapter.use(SequentialTurns(LeaseLock(storage)))
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        for _ in range(int(count)):
            await adapter.receive(app, "margherita")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
