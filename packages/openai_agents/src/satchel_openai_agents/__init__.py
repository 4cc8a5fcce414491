"""Conversations of the OpenAI Agents SDK in any storage."""

from satchel_openai_agents.session import AgentSession

__all__ = ["AgentSession"]
