"""The flow map: which flows there are, which states in what order, and which function answers in each."""

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from satchel.errors import ConfigurationError, NoTargetError, UnknownStateError
from satchel.flow.slugs import SEPARATOR, check_name, format_slug, parse_slug, shown
from satchel.keys import show

if TYPE_CHECKING:
    from satchel.flow.turns import Turn

Handler = Callable[["Turn[Any]"], Awaitable[Any] | Any]
"""Answers a message, or a step, in one state."""


class State:
    """One state of a flow.

    Args:
        name: what it is called. Names are stored, so one that was deployed is renamed only with `redirects_to`.
        handler: answers whoever is in this state.
        redirects_to: today's state, of what was once this one: a state of the same flow, or a slug. Whoever is in the
            old one is in that, and it is no place among the others of the flow: nothing is counted to it.
        fails_to: where to go when the handler raises: a state of the same flow, or a slug.

    Raises:
        ConfigurationError: it has neither a handler nor a state that it redirects to, or both, or no proper name.
    """

    __slots__ = ("fails_to", "handler", "name", "redirects_to")

    def __init__(
        self,
        name: str,
        handler: Handler | None = None,
        *,
        redirects_to: str | None = None,
        fails_to: str | None = None,
    ) -> None:
        self.name = check_name("state", name)
        self.handler = handler
        self.redirects_to = redirects_to
        self.fails_to = fails_to
        if redirects_to is None and not callable(handler):
            raise ConfigurationError(f"state {show(name)} needs a handler, or redirects_to=")
        if redirects_to is not None and (handler is not None or fails_to is not None):
            raise ConfigurationError(f"state {show(name)} redirects, so it has neither a handler nor fails_to")

    def __repr__(self) -> str:
        return f"<State {self.name}>"


class Flow:
    """States in an order: `Flow("hello", State("say_hello", say_hello), State("get_name", get_name))`.

    Raises:
        ConfigurationError: there is no state, or two are called the same, or the flow has no proper name.
    """

    __slots__ = ("name", "states")

    def __init__(self, name: str, *states: State) -> None:
        self.name = check_name("flow", name)
        self.states: dict[str, State] = {}
        for state in states:
            if not isinstance(state, State):
                raise ConfigurationError(f"flow {show(name)} is made of State(…), not of {type(state).__name__}")
            if self.states.setdefault(state.name, state) is not state:
                raise ConfigurationError(f"flow {show(name)} has two states that are called {show(state.name)}")
        if not self.states:
            raise ConfigurationError(f"flow {show(name)} has no state")

    def __repr__(self) -> str:
        return f"<Flow {self.name}: {', '.join(self.states)}>"


class Place:
    """A state of a flow map that one can be in: what Stealth calls a session. `FlowMap` makes it.

    `place + 2` is two states further on in its flow, `place - 1` one back; both stop at the flow's ends.

    Attributes:
        flow: the flow's name.
        state: the state's name.
        slug: both, as it is stored: `checkout->get_address`.
    """

    __slots__ = ("_map", "flow", "state")

    def __init__(self, flows: "FlowMap", flow: str, state: str) -> None:
        self._map = flows
        self.flow = flow
        self.state = state

    @property
    def slug(self) -> str:
        return format_slug(self.flow, self.state)

    def __add__(self, states: int) -> "Place":
        if type(states) is not int:
            return NotImplemented
        order = self._map.order(self.flow)
        index = order.index(self.state) + states
        return Place(self._map, self.flow, order[max(0, min(index, len(order) - 1))])

    def __sub__(self, states: int) -> "Place":
        return self + -states if type(states) is int else NotImplemented

    def __eq__(self, other: object) -> bool:
        return self.slug == other.slug if isinstance(other, Place) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.slug)

    def __str__(self) -> str:
        return self.slug

    def __repr__(self) -> str:
        return f"<Place {self.slug}>"


class Target(NamedTuple):
    """Where to go, as the arguments of a step say it; the first that is given counts.

    Attributes:
        session: a place.
        slug: a place as text.
        flow: a flow; its first state, if `state` says no other.
        state: a state, of `flow` or of the flow that the session is in.
    """

    session: Place | None = None
    slug: str | None = None
    flow: str | None = None
    state: str | None = None

    @property
    def is_of_this_flow(self) -> bool:
        """Whether it depends on where one is."""
        return self.state is not None and self[:3] == (None, None, None)


class FlowMap:
    """The flows of a bot.

        shop = FlowMap(
            Flow("hello", State("say_hello", say_hello), State("get_name", get_name, fails_to="say_hello")),
            Flow("checkout", State("ask_address", ask_address), State("ask_street", redirects_to="ask_address")),
        )

    Raises:
        ConfigurationError: there is no flow, two are called the same, or a state redirects or fails to one that there
            is not, or in a circle.
    """

    def __init__(self, *flows: Flow) -> None:
        self._flows: dict[str, Flow] = {}
        for flow in flows:
            if not isinstance(flow, Flow):
                raise ConfigurationError(f"a flow map is made of Flow(…), not of {type(flow).__name__}")
            if self._flows.setdefault(flow.name, flow) is not flow:
                raise ConfigurationError(f"there are two flows that are called {show(flow.name)}")
        if not self._flows:
            raise ConfigurationError("a flow map has at least one flow")
        for flow in flows:
            for state in flow.states.values():
                self._follow(flow.name, state, "redirects_to")
        for flow in flows:
            for state in flow.states.values():
                self._follow(flow.name, state, "fails_to")

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def place(
        self, slug: str | None = None, *, flow: str | None = None, state: str | None = None, here: Place | None = None
    ) -> Place:
        """Return the place that a slug names, or a flow (its first state), or a flow and a state.

        Redirects are followed. `here` is where one is: a state without a flow is one of that place's flow.

        Raises:
            UnknownStateError: there is no such flow or state.
            NoTargetError: nothing is named, or a state without a flow, and there is no `here`.
        """
        return self.find(Target(slug=slug, flow=flow, state=state), here)

    def find(self, target: Target, here: Place | None = None) -> Place:
        """Return the place that the arguments of a step name, as `place` does."""
        session, slug, flow, state = target
        if session is not None:
            if not isinstance(session, Place):
                raise UnknownStateError(f"session is a Place, such as turn.current + 1, not {type(session).__name__}")
            return self._today(session.flow, session.state)
        if slug is not None:
            return self._today(*parse_slug(slug))
        if flow is not None:
            return self._today(flow, self.order(flow)[0] if state is None else state)
        if state is None:
            raise NoTargetError("a step names where to go: session, slug, flow or state")
        if here is None:
            raise NoTargetError(f"state {shown(state)} is of which flow? The session is in none yet")
        return self._today(here.flow, state)

    def order(self, flow: str) -> list[str]:
        """Return the names of a flow's states, but those that redirect; all, if there is no other.

        Raises:
            UnknownStateError: there is no such flow.
        """
        states = self._flow(flow).states
        return [name for name, state in states.items() if state.redirects_to is None] or list(states)

    def handler(self, place: Place) -> Handler:
        """Return what answers in a place."""
        # A place is never a state that redirects, and every other one has a handler.
        return cast("Handler", self._state(place.flow, place.state).handler)

    def fallback(self, place: Place) -> Place | None:
        """Return where to go when the handler of a place raises, if there is such a place."""
        fails_to = self._state(place.flow, place.state).fails_to
        return None if fails_to is None else self._today(*_named(place.flow, fails_to))

    def _today(self, flow: str, state: str) -> Place:
        while (redirect := self._state(flow, state).redirects_to) is not None:
            flow, state = _named(flow, redirect)
        return Place(self, flow, state)

    def _flow(self, name: str) -> Flow:
        if not isinstance(name, str) or name not in self._flows:
            raise UnknownStateError(f"there is no flow {shown(name)}; there are {', '.join(self._flows)}")
        return self._flows[name]

    def _state(self, flow: str, name: str) -> State:
        states = self._flow(flow).states
        if not isinstance(name, str) or name not in states:
            raise UnknownStateError(f"flow {flow} has no state {shown(name)}; it has {', '.join(states)}")
        return states[name]

    def _follow(self, flow: str, state: State, option: str) -> None:
        """See that following one option, from state to state, comes to an end."""
        at = format_slug(flow, state.name)
        seen = {at}
        while (named := getattr(self._state(*parse_slug(at)), option)) is not None:
            try:
                there = _named(parse_slug(at)[0], named)
                self._state(*there)
            except UnknownStateError as error:
                raise ConfigurationError(f"state {show(at)} has {option}={shown(named)}, but {error}") from None
            # What fails goes to today's state, and what redirects leads to it.
            before, at = at, self._today(*there).slug if option == "fails_to" else format_slug(*there)
            if at in seen:
                message = (
                    f"state {show(before)} has {option}={shown(named)}: from {show(at)} that goes round in a circle"
                )
                raise ConfigurationError(message)
            seen.add(at)


def _named(flow: str, name: str) -> tuple[str, str]:
    """Return the flow and the state that an option of a state of `flow` names."""
    return parse_slug(name) if not isinstance(name, str) or SEPARATOR in name else (flow, name)
