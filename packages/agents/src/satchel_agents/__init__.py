"""State of agents of the Microsoft 365 Agents SDK in any storage."""

from satchel_agents.storage import AgentStorage
from satchel_agents.turns import SequentialTurns

__all__ = ["AgentStorage", "SequentialTurns"]
