"""What storages over others' records share: keys there and back, envelopes, URLs."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satchel import (
    Batch,
    Capabilities,
    ConfigurationError,
    CorruptValueError,
    EncodedStorage,
    Expiring,
    InvalidKeyError,
    Listing,
    Payload,
    ReadOnlyError,
    StorageURL,
    Versioned,
    session_key,
)
from satchel.envelope import Envelope
from satchel.foreign.aiogram import Conversation
from satchel.foreign.grammy import Grammy
from satchel.foreign.keys import MAPPINGS


class Shelf(EncodedStorage[Any]):
    """Keeps what it is given, under names as they are."""

    capabilities = Capabilities(versioned=True, expiring=True, listing=True, batch=True)

    def __init__(self, source: str | Mapping[str, Payload], *, shape: str = "", **options: Any) -> None:
        super().__init__(where="shelf://", **options)
        self.source = source
        self.shape = shape

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        parsed = StorageURL(url)
        return cls(url, shape=parsed.take("shape", str) or "", **parsed.options(options))

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        assert isinstance(self.source, Mapping)
        return {name: self.source[name] for name in names if name in self.source}

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        assert isinstance(self.source, Mapping)
        yield [name for name in self.source if name.startswith(prefix)]


class GrammyShelf(Grammy, Shelf):
    pass


@pytest.mark.parametrize("name", MAPPINGS)
@given(key=st.text(max_size=200) | st.from_regex(r"\A[0-9]{1,12}/-?[0-9]{1,12}\Z"))
def test_a_key_of_theirs_comes_back_from_the_one_it_became(name: str, key: str) -> None:
    mapping = MAPPINGS[name]
    try:
        ours = mapping.ours(key)
    except InvalidKeyError:
        return
    assert mapping.theirs(ours) == key


@pytest.mark.parametrize("name", MAPPINGS)
@given(
    key=st.text(max_size=200, min_size=1) | st.from_regex(r"\A(chat|user|telegram):[0-9%:]{1,9}(:user:[0-9]{1,9})?\Z")
)
def test_a_key_of_ours_is_of_no_record_of_theirs_or_of_one_that_became_it(name: str, key: str) -> None:
    theirs = MAPPINGS[name].theirs(key)
    assert theirs is None or MAPPINGS[name].ours(theirs) == key


@given(
    st.builds(
        Conversation,
        chat_id=st.integers(-(10**15), 10**15),
        user_id=st.integers(-(10**15), 10**15),
        bot_id=st.none() | st.integers(0, 10**12),
        thread_id=st.none() | st.integers(1, 10**9),
        business_connection_id=st.none() | st.text(min_size=1, max_size=20),
        destiny=st.text(min_size=1, max_size=20),
    )
)
def test_a_conversation_of_aiograms_comes_back_from_its_key(conversation: Conversation) -> None:
    assert Conversation.of(conversation.key()) == conversation


@pytest.mark.parametrize(
    "key",
    ["aiogram:chat:1", "aiogram:user:1:chat:1", "aiogram:chat:01:user:1", "aiogram:chat:1:user:1:destiny:default",
     "aiogram:chat:1:user:1:destiny:", "aiogram:chat:1:user:1:destiny:%61", "chat:1:user:1",
     "aiogram:chat:1:user:1:destiny:" + "%zz" * 150],
)  # fmt: skip
def test_any_other_key_is_of_no_conversation(key: str) -> None:
    assert Conversation.of(key) is None


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ('{"__d":{"a":1}}', {"a": 1}),
        ('{"__d":{"a":1},"v":3}', Envelope({"a": 1}, version=3).closed()),
        ('{"e":9999999999999,"__d":[1],"v":0}', Envelope([1], version=0).closed()),
        ('{"__d":{"$satchel":{},"data":1}}', Envelope({"$satchel": {}, "data": 1}).closed()),
        ('{"$satchel":{},"data":1}', Envelope({"$satchel": {}, "data": 1}).closed()),
        ('{"__d":{"a":1},"e":1}', None),
        ('{"__d":{"a":1},"e":1.5}', None),
        ('{"__d":1,"e":1,"x":1}', {"__d": 1, "e": 1, "x": 1}),
        ('{"v":1,"e":1}', {"v": 1, "e": 1}),
        ('"text"', "text"),
        ("0", 0),
    ],
)
async def test_a_session_is_taken_out_of_the_envelope_that_it_is_in(stored: str, read: Any) -> None:
    storage = GrammyShelf({"42": stored.encode()})

    assert await storage.read("telegram:42") == read
    assert [key async for key in storage.keys()] == ([] if read is None else ["telegram:42"])


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "{",
        "null",
        "NaN",
        '{"a":1}}',
        '{"__d":null}',
        '{"__d":1,"v":"2"}',
        '{"__d":1,"e":"soon"}',
        '{"__d":1,"e":true}',
    ],
)
async def test_a_damaged_session_raises_and_is_listed(stored: str) -> None:
    storage = GrammyShelf({"41": b"{}", "42": stored.encode(), "43": b"{}"})

    with pytest.raises(CorruptValueError, match="'telegram:42' in grammy.shelf:// is not") as caught:
        await storage.read_many(["telegram:41", "telegram:42", "telegram:43"])
    assert "soon" not in str(caught.value)
    assert await storage.read("telegram:41") == {}
    assert [key async for key in storage.keys()] == ["telegram:41", "telegram:42", "telegram:43"]


async def test_envelopes_can_be_told_to_be_none() -> None:
    storage = GrammyShelf({"42": b'{"__d":1,"e":1}'}, enhanced=False)

    assert await storage.read("telegram:42") == {"__d": 1, "e": 1}
    assert [key async for key in storage.keys("telegram:4")] == ["telegram:42"]
    assert [key async for key in storage.keys("telegram:5")] == []


async def test_keys_that_ours_cannot_be_made_of_are_told_after_all_others() -> None:
    storage = GrammyShelf({"": b"1", "7/42": b"1", "x" * 600: b"1", "42": b"1"}, keys="per_user_in_chat")

    listed = []
    with pytest.raises(CorruptValueError, match="grammy.shelf:// has records without a key of ours: '' and 2 more"):
        async for key in storage.keys():
            listed.append(key)  # noqa: PERF401 - the end raises
    assert listed == [session_key("chat", 42, "user", 7)]


def test_it_can_do_what_reading_takes_and_no_more() -> None:
    storage = GrammyShelf({})
    assert isinstance(storage, Listing)
    assert isinstance(storage, Batch)
    assert not isinstance(storage, Versioned)
    assert not isinstance(storage, Expiring)


@pytest.mark.parametrize("method", ["write", "delete", "write_many", "delete_many", "put", "drop", "renew", "purge"])
async def test_nothing_of_it_writes(method: str) -> None:
    with pytest.raises(ReadOnlyError, match="what grammy stored is left as it is"):
        await getattr(GrammyShelf({}), method)("telegram:42", {})


def test_of_a_url_the_adapter_sees_its_own_part_letter_by_letter() -> None:
    url = "grammy+shelf://u%20s:p+w@h/a%2Fb?prefix=a%26b+c&timeout=3s&only=%5Cd*&shape=%61+b&keys=same"

    storage = GrammyShelf.from_url(url)

    assert storage.source == "shelf://u%20s:p+w@h/a%2Fb?timeout=3s&shape=%61+b"
    assert storage.shape == "a b"
    assert storage.names("1") == ("a&b c1",)
    assert storage.names("x") == ()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("keys=chat", "keys is 'chat'; it is one of telegram, per_chat, per_user, per_user_in_chat, same"),
        ("only=(", "only is '.', which is no regular expression"),
        ("enhanced=maybe", "option enhanced is not true or false"),
        ("namespace=bot", "GrammyShelf takes no namespace: its records are grammy's"),
        ("ttl=1d", "takes no ttl"),
        ("codec=json", "takes no codec"),
        ("colour=red", "has no option colour"),
    ],
)
def test_a_wrong_option_is_refused(query: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        GrammyShelf.from_url(f"grammy+shelf://?{query}")


@pytest.mark.parametrize("url", ["shelf://", "grammyshelf://", 7])
def test_a_url_without_the_framework_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="starts with grammy+".replace("+", "[+]")):
        GrammyShelf.from_url(url)
