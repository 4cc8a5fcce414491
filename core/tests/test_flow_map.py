"""The flow map: declared at once, checked at once; slugs, places and the arithmetic of places."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satchel import ConfigurationError, NoTargetError, UnknownStateError
from satchel.flow import Flow, FlowMap, State, format_slug, parse_slug


async def answer(turn: Any) -> None:
    """Do nothing: these tests are about where states are."""


SHOP = FlowMap(
    Flow("hello", State("say_hello", answer), State("get_name", answer)),
    Flow(
        "checkout",
        State("ask_address", answer),
        State("ask_street", redirects_to="ask_address"),
        State("get_address", answer, fails_to="ask_address"),
        State("thanks", answer, fails_to="hello->say_hello"),
    ),
    Flow("old_checkout", State("start", redirects_to="checkout->ask_street"), State("pay", redirects_to="start")),
)

names = st.text(min_size=1).filter(lambda name: name.isprintable() and "->" not in name)


@given(names, names)
def test_a_slug_says_flow_and_state_and_nothing_else(flow: str, state: str) -> None:
    assert parse_slug(format_slug(flow, state)) == (flow, state)


def test_a_slug_is_written_as_stealth_writes_it() -> None:
    assert format_slug("hello", "say_hola") == "hello->say_hola"
    assert str(SHOP.place("hello->get_name")) == SHOP.place("hello->get_name").slug == "hello->get_name"


@pytest.mark.parametrize("slug", ["", "hello", "->", "hello->", "->say_hello", "a->b->c", None, 7, ("hello", "b")])
def test_what_is_no_slug_is_refused(slug: Any) -> None:
    with pytest.raises(UnknownStateError, match="is no slug"):
        parse_slug(slug)


@pytest.mark.parametrize("name", ["", "a->b", "a\nb", "\ud800", "a\0", None, 7])
def test_names_that_no_slug_could_hold_are_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a state cannot be called"):
        State(name, answer)
    with pytest.raises(ConfigurationError, match="a flow cannot be called"):
        Flow(name, State("a", answer))
    with pytest.raises(ConfigurationError, match="a state cannot be called"):
        format_slug("flow", name)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (FlowMap, "at least one flow"),
        (lambda: Flow("hello"), "flow 'hello' has no state"),
        (lambda: Flow("hello", State("a", answer), State("a", answer)), "two states that are called 'a'"),
        (
            lambda: FlowMap(Flow("hello", State("a", answer)), Flow("hello", State("b", answer))),
            "two flows that are called 'hello'",
        ),
        (lambda: State("a"), "'a' needs a handler"),
        (lambda: State("a", "say"), "'a' needs a handler"),  # type: ignore[arg-type]
        (lambda: State("a", answer, redirects_to="b"), "'a' redirects, so"),
        (lambda: State("a", redirects_to="b", fails_to="c"), "'a' redirects, so"),
        (lambda: Flow("hello", answer), "made of State"),  # type: ignore[arg-type]
        (lambda: FlowMap(State("a", answer)), "made of Flow"),  # type: ignore[arg-type]
    ],
)
def test_a_map_that_makes_no_sense_is_refused(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        declare()


@pytest.mark.parametrize("option", ["redirects_to", "fails_to"])
@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("nowhere", "'f->a' has .*='nowhere', but flow f has no state 'nowhere'"),
        ("g->b", "'f->a' has .*='g->b', but there is no flow 'g'"),
        ("f->", "'f->a' has .*='f->', but 'f->' is no slug"),
        ("", "'f->a' has .*='', but flow f has no state ''"),
        (7, "'f->a' has .*=a int, but a int is no slug"),
        ("a", "'f->a' has .*='a': from 'f->a' that goes round in a circle"),
        ("f->a", "in a circle"),
    ],
)
def test_redirects_and_failures_have_to_lead_somewhere(option: str, there: Any, message: str) -> None:
    handler = None if option == "redirects_to" else answer
    with pytest.raises(ConfigurationError, match=message):
        FlowMap(Flow("f", State("a", handler, **{option: there}), State("z", answer)))


def test_redirects_and_failures_do_not_lead_round_and_round() -> None:
    with pytest.raises(
        ConfigurationError, match="'f->b' has redirects_to='a': from 'f->a' that goes round in a circle"
    ):
        FlowMap(Flow("f", State("a", redirects_to="b"), State("b", redirects_to="a"), State("c", answer)))
    with pytest.raises(ConfigurationError, match="'f->b' has redirects_to='a': from 'f->a' that goes round"):
        FlowMap(Flow("f", State("c", redirects_to="a"), State("a", redirects_to="b"), State("b", redirects_to="a")))
    with pytest.raises(ConfigurationError, match="'f->b' has fails_to='old': from 'f->a' that goes round"):
        FlowMap(
            Flow(
                "f",
                State("a", answer, fails_to="b"),
                State("b", answer, fails_to="old"),
                State("old", redirects_to="a"),
            )
        )


def test_a_place_is_found_by_slug_by_flow_and_by_state() -> None:
    here = SHOP.place("checkout->thanks")
    assert SHOP.place(flow="hello").slug == "hello->say_hello"
    assert SHOP.place(flow="hello", state="get_name").slug == "hello->get_name"
    assert SHOP.place(state="get_address", here=here).slug == "checkout->get_address"
    assert SHOP.place("hello->get_name", flow="checkout", state="nowhere").slug == "hello->get_name"


def test_redirects_are_followed_however_far_they_lead() -> None:
    assert SHOP.place("checkout->ask_street").slug == "checkout->ask_address"
    assert SHOP.place("old_checkout->pay").slug == "checkout->ask_address"
    assert SHOP.place(flow="old_checkout").slug == "checkout->ask_address"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"slug": "nowhere->a"}, "there is no flow 'nowhere'; there are hello, checkout, old_checkout"),
        ({"slug": "hello->nowhere"}, "flow hello has no state 'nowhere'; it has say_hello, get_name"),
        ({"flow": "nowhere"}, "there is no flow 'nowhere'"),
        ({"flow": ""}, "there is no flow ''"),
        ({"flow": 7}, "there is no flow a int"),
        ({"flow": "hello", "state": ""}, "no state ''"),
        ({"flow": "hello", "state": ["say_hello"]}, "no state a list"),
    ],
)
def test_what_there_is_not_is_named_in_the_error(named: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownStateError, match=message):
        SHOP.place(**named)


def test_a_state_needs_a_flow_to_be_in() -> None:
    with pytest.raises(NoTargetError, match="state 'get_name' is of which flow"):
        SHOP.place(state="get_name")
    with pytest.raises(NoTargetError, match="session, slug, flow or state"):
        SHOP.place()


def test_places_are_counted_and_stop_at_the_ends_of_their_flow() -> None:
    place = SHOP.place("checkout->get_address")
    assert (place + 1).state == "thanks"
    assert (place + 2).state == (place + 99).state == "thanks"
    assert (place - 1).state == (place - 99).state == "ask_address"
    assert place + 0 == place - 0 == place
    assert place - -1 == place + 1
    assert place + -1 == place - 1
    assert (place + 99).flow == "checkout"


def test_a_state_that_redirects_is_no_place_to_count_to() -> None:
    assert SHOP.place("checkout->ask_address") + 1 == SHOP.place("checkout->get_address")


@pytest.mark.parametrize("number", [1.0, "1", True, None])
def test_places_are_counted_in_whole_states(number: Any) -> None:
    with pytest.raises(TypeError):
        _ = SHOP.place(flow="hello") + number
    with pytest.raises(TypeError):
        _ = SHOP.place(flow="hello") - number


def test_equal_places_are_the_same_key() -> None:
    assert {SHOP.place(flow="hello"): 1}[SHOP.place("hello->say_hello")] == 1
    assert SHOP.place(flow="hello") != "hello->say_hello"


def test_a_map_tells_its_flows_in_order() -> None:
    assert [flow.name for flow in SHOP] == ["hello", "checkout", "old_checkout"]
    assert list(next(iter(SHOP)).states) == ["say_hello", "get_name"]
