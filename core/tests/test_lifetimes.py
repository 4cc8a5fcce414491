"""Sessions over time: layouts that change, sessions that end, defaults that are new, and what is stored for it."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from satchel import (
    ConfigurationError,
    ConflictError,
    MemoryStorage,
    Sessions,
    SessionVersionError,
    typed,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def storage() -> MemoryStorage[Any]:
    return MemoryStorage()


class Clock:
    """The time that sessions see: it passes when the test says so."""

    def __init__(self) -> None:
        self.milliseconds = 1_700_000_000_000

    def __call__(self) -> int:
        return self.milliseconds

    def passes(self, time: timedelta) -> None:
        self.milliseconds += time // timedelta(milliseconds=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("satchel.lifetimes.now", clock)
    return clock


def add_email(data: Any) -> Any:
    return data | {"email": None}


def split_name(data: Any) -> Any:
    first, _, last = data.pop("name").partition(" ")
    return data | {"first": first, "last": last}


MIGRATIONS = {2: split_name, 1: add_email}  # not in order, as a dict is written by people


async def test_data_without_a_version_goes_through_all_migrations_lowest_first(storage: MemoryStorage[Any]) -> None:
    await storage.write("chat:1", {"name": "Ada Lovelace"})

    async with Sessions(storage, migrations=MIGRATIONS).open("chat:1") as session:
        assert session.data == {"email": None, "first": "Ada", "last": "Lovelace"}


async def test_data_of_a_version_goes_through_the_later_ones_only(storage: MemoryStorage[Any]) -> None:
    first = Sessions(storage, migrations={1: add_email})
    async with Sessions(storage, initial=dict).open("chat:1") as session:
        session.data["name"] = "Ada Lovelace"
    assert await first.migrate("chat:1")
    async with first.open("chat:1") as session:
        session.data["email"] = "ada@example.com"

    async with Sessions(storage, migrations=MIGRATIONS).open("chat:1") as session:
        assert session.data == {"email": "ada@example.com", "first": "Ada", "last": "Lovelace"}


async def test_versions_are_numbers_so_ten_comes_after_nine(storage: MemoryStorage[Any]) -> None:
    def noting(number: int) -> Any:
        return lambda data: [*data, number]

    await storage.write("chat:1", [])

    assert await Sessions(storage, migrations={n: noting(n) for n in (10, 9, 2)}).read("chat:1") == [2, 9, 10]


async def test_a_migration_may_be_async(storage: MemoryStorage[Any]) -> None:
    async def look_up(data: Any) -> Any:
        await asyncio.sleep(0)
        return data | {"looked": "up"}

    await storage.write("chat:1", {})

    assert await Sessions(storage, migrations={1: look_up}).read("chat:1") == {"looked": "up"}


async def test_migrated_data_is_stored_when_it_changes_or_if_it_is_asked_for(storage: MemoryStorage[Any]) -> None:
    old = {"name": "Ada Lovelace"}
    await storage.write("chat:1", old)

    async with Sessions(storage, migrations=MIGRATIONS).open("chat:1") as session:
        assert session.data["first"] == "Ada"
    assert await storage.read("chat:1") == old

    async with Sessions(storage, migrations=MIGRATIONS, write_back=True).open("chat:1"):
        pass
    stored: Any = await storage.read("chat:1")
    assert stored["data"] == {"email": None, "first": "Ada", "last": "Lovelace"}
    assert stored["$satchel"]["version"] == 2


async def test_migrate_stores_one_session_in_todays_layout_once(storage: MemoryStorage[Any]) -> None:
    sessions = Sessions(storage, migrations=MIGRATIONS)
    await storage.write("chat:1", {"name": "Ada Lovelace"})

    assert [await sessions.migrate("chat:1"), await sessions.migrate("chat:1")] == [True, False]
    assert not await sessions.migrate("chat:absent")
    stored: Any = await storage.read("chat:1")
    assert stored["data"]["first"] == "Ada"


async def test_data_that_is_newer_than_the_program_is_refused_and_stays(storage: MemoryStorage[Any]) -> None:
    async with Sessions(storage, initial=dict, version=3).open("chat:1") as session:
        session.data["from"] = "tomorrow"
    stored: Any = await storage.read("chat:1")

    for use in ("open", "update", "read", "migrate"):
        sessions = Sessions(storage, initial=dict, migrations=MIGRATIONS)
        with pytest.raises(SessionVersionError, match="'chat:1' has data of version 3, and this program knows 2"):
            if use == "open":
                async with sessions.open("chat:1"):
                    pass
            elif use == "update":
                await sessions.update("chat:1", lambda session: session.delete())
            else:
                await getattr(sessions, use)("chat:1")
    assert await storage.read("chat:1") == stored


async def test_a_program_that_knows_no_versions_keeps_the_one_that_is_there(storage: MemoryStorage[Any]) -> None:
    async with Sessions(storage, initial=dict, version=3).open("chat:1") as session:
        session.data["n"] = 1

    async with Sessions(storage).open("chat:1") as session:
        assert session.data == {"n": 1}
        session.data["n"] = 2

    stored: Any = await storage.read("chat:1")
    assert (stored["$satchel"]["version"], stored["data"]) == (3, {"n": 2})


async def test_a_migration_that_fails_changes_nothing(storage: MemoryStorage[Any]) -> None:
    await storage.write("chat:1", {"no": "name"})

    with pytest.raises(KeyError):
        async with Sessions(storage, migrations=MIGRATIONS, write_back=True).open("chat:1"):
            pass

    assert await storage.read("chat:1") == {"no": "name"}


async def test_conflicting_writers_merge_migrated_data(storage: MemoryStorage[Any]) -> None:
    await storage.write("chat:1", {"name": "Ada Lovelace"})
    one, two = (Sessions(storage, migrations=MIGRATIONS, lock=False) for _ in range(2))

    async with one.open("chat:1") as mine, two.open("chat:1") as theirs:
        mine.data["email"] = "ada@example.com"
        theirs.data["last"] = "King"

    assert await one.read("chat:1") == {"email": "ada@example.com", "first": "Ada", "last": "King"}


@pytest.mark.parametrize(
    "data",
    [
        {"$satchel": {"version": 9}, "data": "mine"},
        {"$satchel": {}, "data": {"$satchel": {}, "data": 1}},
        {"__d": 1, "v": 2, "e": 3},
        {"$satchel": {"version": 9}},
        {"data": {}},
    ],
)
@pytest.mark.parametrize("options", [{}, {"version": 2}, {"idle_timeout": timedelta(days=1)}], ids=str)
async def test_data_that_looks_like_what_is_stored_around_it_comes_back_as_it_is(
    storage: MemoryStorage[Any], data: Any, options: dict[str, Any]
) -> None:
    sessions = Sessions(storage, initial=dict, **options)

    async with sessions.lazy("chat:1") as session:
        session.data = data

    async with sessions.open("chat:1") as session:
        assert session.data == data
    assert await Sessions(storage).read("chat:1") == data


async def test_without_anything_to_keep_the_record_is_the_data_itself(storage: MemoryStorage[Any]) -> None:
    async with Sessions(storage, initial=dict).open("chat:1") as session:
        session.data["pizza"] = 1

    assert await storage.read("chat:1") == {"pizza": 1}


async def test_an_idle_session_ends_and_the_next_one_begins(storage: MemoryStorage[Any], clock: Clock) -> None:
    sessions = Sessions(storage, initial=lambda: {"n": 0}, idle_timeout=HOUR)
    async with sessions.open("chat:1") as session:
        session.data["n"] = 7
    clock.passes(HOUR)

    assert await sessions.read("chat:1") is None
    async with sessions.open("chat:1") as session:
        assert session.is_new
        assert session.data == {"n": 0}
        session.data["n"] = 1
    assert await sessions.read("chat:1") == {"n": 1}


async def test_a_session_in_use_does_not_become_idle_though_it_does_not_change(
    storage: MemoryStorage[Any], clock: Clock
) -> None:
    sessions = Sessions(storage, initial=dict, idle_timeout=HOUR)
    async with sessions.open("chat:1") as session:
        session.data["n"] = 7

    for _ in range(8):
        clock.passes(HOUR / 2)
        async with sessions.open("chat:1") as session:
            assert not session.is_new


async def test_that_a_session_is_in_use_is_noted_ten_times_in_its_idle_timeout_at_most(
    storage: MemoryStorage[Any], clock: Clock
) -> None:
    sessions = Sessions(storage, initial=dict, idle_timeout=HOUR)
    async with sessions.open("chat:1") as session:
        session.data["n"] = 7
    versions = set()

    for _ in range(60):
        clock.passes(HOUR / 60)
        async with sessions.open("chat:1"):
            pass
        record = await storage.read_versioned("chat:1")
        assert record is not None
        versions.add(record.version)

    assert len(versions) == 11


async def test_a_session_ends_so_long_after_it_began_however_much_it_is_used(
    storage: MemoryStorage[Any], clock: Clock
) -> None:
    sessions = Sessions(storage, initial=lambda: {"n": 0}, absolute_timeout=HOUR)
    counted = []
    for _ in range(8):
        async with sessions.open("chat:1") as session:
            session.data["n"] += 1
            counted.append(session.data["n"])
        clock.passes(HOUR / 4)

    assert counted == [1, 2, 3, 4, 1, 2, 3, 4]


async def test_the_end_of_a_session_loses_no_update_of_the_next(storage: MemoryStorage[Any], clock: Clock) -> None:
    sessions = [Sessions(storage, initial=lambda: {"n": 0}, idle_timeout=HOUR, lock=False) for _ in range(4)]
    async with sessions[0].open("chat:1") as session:
        session.data["n"] = 7
    clock.passes(HOUR)

    def add(session: Any) -> None:
        session.data["n"] += 1

    await asyncio.gather(*(one.update("chat:1", add) for one in sessions))

    assert await sessions[0].read("chat:1") == {"n": 4}


async def test_a_note_of_use_never_conflicts(storage: MemoryStorage[Any], clock: Clock) -> None:
    sessions = Sessions(storage, initial=dict, idle_timeout=HOUR, on_conflict="raise", lock=False)
    async with sessions.open("chat:1") as session:
        session.data["n"] = 1
    clock.passes(HOUR / 4)

    async with sessions.open("chat:1"), sessions.open("chat:1") as other:
        other.data["n"] = 2

    assert await sessions.read("chat:1") == {"n": 2}


async def test_sliding_starts_the_storages_lifetime_anew_when_nothing_changes() -> None:
    class Touched(MemoryStorage[Any]):
        touches = 0

        async def renew(self, name: str) -> bool:
            self.touches += 1
            return await super().renew(name)

    storage = Touched(ttl=HOUR)
    sliding, fixed = (Sessions(storage, initial=lambda: {"n": 0}, sliding=sliding) for sliding in (True, False))

    async with sliding.open("chat:1"):
        assert storage.touches == 0  # there is no record yet
    async with sliding.open("chat:1") as session:
        session.data["n"] = 1
    async with fixed.open("chat:1"), fixed.open("chat:2"):
        pass
    async with sliding.lazy("chat:1"):
        pass
    assert storage.touches == 0

    async with sliding.open("chat:1"):
        pass
    async with sliding.lazy("chat:1") as lazy:
        await lazy
    assert storage.touches == 2


async def test_new_fields_of_initial_reach_old_sessions_if_that_is_wanted(storage: MemoryStorage[Any]) -> None:
    await storage.write("chat:1", {"pizza": 3})
    sessions = Sessions(storage, initial=lambda: {"pizza": 0, "drinks": []}, backfill=True)

    async with sessions.open("chat:1") as session:
        assert session.data == {"pizza": 3, "drinks": []}
    assert await storage.read("chat:1") == {"pizza": 3}

    async with sessions.open("chat:1") as session:
        session.data["drinks"].append("water")
    assert await storage.read("chat:1") == {"pizza": 3, "drinks": ["water"]}
    assert sessions._backing.initial is not None
    assert sessions._backing.initial() == {"pizza": 0, "drinks": []}


@dataclass
class Order:
    pizza: int = 0
    note: str = ""


async def test_typed_sessions_have_versions_ends_and_new_fields(storage: MemoryStorage[Any]) -> None:
    await storage.write("chat:1", {"pizza": 3})
    sessions = Sessions(
        storage,
        initial=Order,
        codec=typed(Order),
        migrations={1: lambda data: data | {"pizza": data["pizza"] + 1}},
        idle_timeout=timedelta(days=1),
        backfill=True,
    )

    async with sessions.open("chat:1") as session:
        assert session.data == Order(pizza=4)
        session.data.note = "no onions"

    stored: Any = await storage.read("chat:1")
    assert stored["data"] == {"pizza": 4, "note": "no onions"}
    assert await sessions.read("chat:1") == Order(4, "no onions")


async def test_renaming_keeps_what_is_stored_beside_the_data(storage: MemoryStorage[Any]) -> None:
    sessions = Sessions(storage, initial=dict, version=2, absolute_timeout=timedelta(days=1))
    async with sessions.open("group:1") as session:
        session.data["n"] = 1
    before = await storage.read("group:1")

    assert await Sessions(storage).rename("group:1", "supergroup:1")

    assert await storage.read("supergroup:1") == before


async def test_what_is_stored_is_not_read_beyond_what_an_envelope_holds(storage: MemoryStorage[Any]) -> None:
    await storage.write("chat:1", {"$satchel": {"version": "two", "created": True, "used": None}, "data": {"n": 1}})

    async with Sessions(storage, version=2, idle_timeout=timedelta(days=1)).open("chat:1") as session:
        assert session.data == {"n": 1}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"migrations": {0: add_email}}, "0 is no version"),
        ({"migrations": {"1": add_email}}, "'1' is no version"),
        ({"migrations": {True: add_email}}, "True is no version"),
        ({"migrations": {1: "add"}}, "migration to version 1 is no function"),
        ({"migrations": {3: add_email}, "version": 2}, "version is 2, but there is a migration to 3"),
        ({"version": 1.5}, "1.5 is no version"),
        ({"idle_timeout": 30}, "idle_timeout is a timedelta"),
        ({"absolute_timeout": timedelta(0)}, "absolute_timeout is 0:00:00"),
        ({"backfill": True}, "there is no initial"),
        ({"sliding": True}, "give it a ttl"),
    ],
)
def test_a_wrong_option_is_refused(storage: MemoryStorage[Any], options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError, match=line):
        Sessions(storage, **options)


def test_a_storage_of_one_type_only_has_no_room_for_what_is_kept_beside() -> None:
    with pytest.raises(ConfigurationError, match="give it to Sessions instead"):
        Sessions(MemoryStorage(codec=typed(Order)), version=1)


async def test_a_conflict_is_still_one(storage: MemoryStorage[Any]) -> None:
    sessions = Sessions(storage, initial=lambda: {"n": 0}, version=1, lock=False)

    with pytest.raises(ConflictError):
        async with sessions.open("chat:1") as mine:
            mine.data["n"] = 1
            async with sessions.open("chat:1") as theirs:
                theirs.data["n"] = 2

    assert await sessions.read("chat:1") == {"n": 2}
