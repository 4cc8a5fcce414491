"""An `App` remembers, between one request and the next."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slack_bolt import App, BoltContext, BoltRequest, Say
from slack_sdk import WebClient

import satchel
from satchel import ConfigurationError, ConflictError, MemoryStorage, NoSessionError
from satchel.blocking import Sessions, Storage, open_storage
from satchel_slack import BoundSession, SessionMiddleware, per_user, per_user_in_channel

Signed = Callable[..., dict[str, Any]]


@pytest.fixture
def storage(url: str, namespace: str) -> Iterator[Storage[Any]]:
    with open_storage(url, namespace=namespace) as opened:
        yield opened


@pytest.fixture
def app(web_api: Any) -> App:
    """An app whose listeners have run when its answer is there."""
    client = WebClient(token="xoxb-1", base_url=web_api.url)
    return App(client=client, signing_secret="signing secret", process_before_response=True)


def order(session: BoundSession[Any], say: Say) -> None:
    with session.open() as opened:
        opened.data["pizza"] += 1
        say(f"{opened.data['pizza']} pizzas")


def dispatch(app: App, request: dict[str, Any]) -> int:
    return app.dispatch(BoltRequest(**request)).status


def errors_of(app: App) -> list[Exception]:
    """Return a list of what the app's listeners raise from now on."""
    caught: list[Exception] = []

    @app.error
    def note(error: Exception) -> None:
        caught.append(error)

    return caught


def test_a_listener_finds_what_the_last_one_left(app: App, storage: Storage[Any], signed: Signed, web_api: Any) -> None:
    app.use(SessionMiddleware(Sessions(storage, initial=lambda: {"pizza": 0})))
    app.message("pizza")(order)
    for channel in ("C1", "C1", "C2", "C1"):
        assert dispatch(app, signed("pizza", channel=channel)) == 200
    assert web_api.said == ["1 pizzas", "2 pizzas", "1 pizzas", "3 pizzas"]
    assert storage.read("slack:T1:channel:C1") == {"pizza": 3}


def test_threads_take_turns_so_no_order_is_lost(app: App, storage: Storage[Any], signed: Signed) -> None:
    app.use(SessionMiddleware(Sessions(storage, initial=lambda: {"pizza": 0})))
    app.message("pizza")(order)
    threads = [threading.Thread(target=dispatch, args=(app, signed("pizza"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read("slack:T1:channel:C1") == {"pizza": 12}


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_keys_are_what_the_app_wants_them_to_be(app: App, storage: Storage[Any], signed: Signed) -> None:
    sessions = Sessions(storage, initial=lambda: {"pizza": 0})
    keys: list[tuple[str | None, ...]] = []
    app.use(SessionMiddleware(sessions))
    app.use(SessionMiddleware(sessions, key=per_user, name="mine"))
    app.use(SessionMiddleware(sessions, key=per_user_in_channel, name="here"))

    @app.message("pizza")
    def note(session: BoundSession[Any], mine: BoundSession[Any], here: BoundSession[Any]) -> None:
        keys.append((session.key, mine.key, here.key))

    assert dispatch(app, signed("pizza", user="U2", team="T2")) == 200
    assert keys == [("slack:T2:channel:C1", "slack:T2:user:U2", "slack:T2:channel:C1:user:U2")]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_a_request_without_a_session_costs_nothing_until_it_is_opened(
    app: App, storage: Storage[Any], signed: Signed
) -> None:
    caught = errors_of(app)
    app.use(SessionMiddleware(Sessions(storage, initial=dict)))

    @app.event("message")
    def open_it(session: BoundSession[Any], event: dict[str, Any]) -> None:
        if event["text"] == "open":
            with session.open():
                pass

    assert dispatch(app, signed("nothing", channel=None)) == 200
    assert caught == []
    dispatch(app, signed("open", channel=None))
    assert [type(error) for error in caught] == [NoSessionError]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_a_listener_that_raises_leaves_the_session_as_it_was(app: App, storage: Storage[Any], signed: Signed) -> None:
    app.use(SessionMiddleware(Sessions(storage, initial=lambda: {"pizza": 0})))
    caught = errors_of(app)

    @app.message("pizza")
    def fail(session: BoundSession[Any]) -> None:
        with session.open() as opened:
            opened.data["pizza"] = 99
            raise RuntimeError

    dispatch(app, signed("pizza"))
    assert [type(error) for error in caught] == [RuntimeError]
    assert storage.read("slack:T1:channel:C1") is None


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_what_cannot_be_saved_reaches_the_error_handler(app: App, storage: Storage[Any], signed: Signed) -> None:
    caught = errors_of(app)
    app.use(SessionMiddleware(Sessions(storage, initial=lambda: {"pizza": 0}, on_conflict="raise")))

    @app.message("pizza")
    def overtaken(session: BoundSession[Any], context: BoltContext) -> None:
        with session.open() as opened:
            opened.data["pizza"] += 1
            storage.write(str(session.key), {"pizza": 7})  # as another process might

    dispatch(app, signed("pizza"))
    assert [type(error) for error in caught] == [ConflictError]
    assert storage.read("slack:T1:channel:C1") == {"pizza": 7}


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_lazy_listeners_lazy_sessions_and_updates_have_it_too(app: App, storage: Storage[Any], signed: Signed) -> None:
    done = threading.Event()
    app.use(SessionMiddleware(Sessions(storage, initial=lambda: {"pizza": 0})))

    def bake(session: BoundSession[Any]) -> None:
        session.update(lambda opened: opened.data.update(pizza=opened.data["pizza"] + 1))
        with session.lazy() as opened:
            opened.data["pizza"] += 1
        done.set()

    app.message("pizza")(ack=lambda ack: ack(), lazy=[bake])
    assert dispatch(app, signed("pizza")) == 200
    assert done.wait(30)
    assert storage.read("slack:T1:channel:C1") == {"pizza": 2}


def test_what_are_no_blocking_sessions_is_refused() -> None:
    theirs: Any = satchel.Sessions(MemoryStorage())  # whose update() nobody would await
    storage: Any = Storage(MemoryStorage())
    for wrong in (theirs, storage):
        with pytest.raises(ConfigurationError, match=r"takes Sessions of satchel\.blocking, not <class"):
            SessionMiddleware(wrong)
