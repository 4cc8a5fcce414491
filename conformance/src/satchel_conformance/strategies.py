"""Values and keys for Hypothesis: all that is allowed, with a bias to what goes wrong."""

from collections.abc import Callable
from typing import Any, Final
from unicodedata import normalize
from urllib.parse import quote, unquote

from hypothesis import strategies as st

_TEXTS: Final = (
    "", " ", "\0", "\0null", "null", "NaN", "true", "0", "-0", "1e400", '"', "\\", "\\u0000", "\x1f", "\x7f", "\u2028",
    "é", "e\u0301", "ﬁ", "ß", "ẞ", "\N{ZERO WIDTH JOINER}", "\N{RIGHT-TO-LEFT OVERRIDE}", "🍕", "👩\u200d💻", "\uffff",
    "\U0010ffff", "__proto__", "$ref", "a.b", "$set", "%00", "{}", "[]", "'; --", "\r\n", "\ufeff",
)  # fmt: skip
_INTEGERS: Final = (0, 1, -1, 2**31, 2**53, 2**53 + 1, -(2**63), 2**63, 2**64, 10**30, -(10**400))
_FLOATS: Final = (0.0, -0.0, 1.0, 0.1, 1e16, 1e22, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308)

texts: Final = st.sampled_from(_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Strings, without lone surrogates."""

_leaves: Final[st.SearchStrategy[Any]] = (
    st.none()
    | st.booleans()
    | st.sampled_from(_INTEGERS)
    | st.integers()
    | st.sampled_from(_FLOATS)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)


def _nested(depth: int) -> Any:
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


values: Final[st.SearchStrategy[Any]] = (
    st.recursive(
        _leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    )
    | st.integers(1, 100).map(_nested)
).filter(lambda value: value is not None)
"""JSON values but None: look-alike keys, huge numbers, empty and falsy things, up to 100 levels."""

_KEY_PARTS: Final = (
    "a", "A", "b", ":", "::", "/", "//", ".", "..", "-", "_", "%", "%3A", "%2F", "%00", "%25", "\\", "*", "?", "[a]",
    "^", "$", "#", "&", "=", "+", " ", "\0", "\n", "\t", "\x7f", "é", "e\u0301", "ß", "ss", "İ", "i", "ﬁ", "fi", "中",
    "🍕", "\u200d", "\U0010ffff", "'", '"', ";", "|", "<", "~", "con", "nul", ".json", ".tmp", "0",
)  # fmt: skip


_ALIKE: Final[tuple[Callable[[str], str], ...]] = (
    str.swapcase,
    str.casefold,
    str.strip,
    lambda key: normalize("NFC", key),
    lambda key: normalize("NFD", key),
    lambda key: normalize("NFKC", key),
    lambda key: quote(key, safe=""),
    lambda key: unquote(key, errors="replace"),
    lambda key: key.replace(":", "/"),
    lambda key: key.replace("/", "").replace(".", ""),
    lambda key: key.replace("%", "%25"),
    lambda key: key.partition("\0")[0],
    lambda key: key + ".",
    lambda key: key + " ",
    lambda key: key + key[-1:],
    lambda key: key[:-1],
)


def keys_alike(longest: int) -> st.SearchStrategy[list[str]]:
    """Return lists of different keys, some of which only differ in what a backend might not tell apart."""
    changes = st.lists(st.sampled_from(_ALIKE), min_size=1, max_size=3)

    def alike(key: str, more: list[Callable[[str], str]], other: str) -> list[str]:
        made = [key, *(change(key) for change in more), other]
        return [each for each in dict.fromkeys(made) if 0 < len(each.encode()) <= longest]

    return st.builds(alike, keys(longest), changes, keys(longest)).filter(lambda made: len(made) > 1)


def keys(longest: int) -> st.SearchStrategy[str]:
    """Return keys of up to `longest` UTF-8 bytes: separators, look-alikes, wildcards, paths, control characters."""
    parts = st.lists(st.sampled_from(_KEY_PARTS), min_size=1, max_size=6).map("".join)
    free = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
    long = st.builds(lambda start, part: (start + part * longest)[: longest // 4], parts, st.sampled_from("aé中🍕%:"))
    return (parts | free | long).filter(lambda key: 0 < len(key.encode()) <= longest)
