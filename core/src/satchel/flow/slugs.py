"""Slugs: a state of a flow as one text, `checkout->get_address`, as it is stored."""

from typing import Final

from satchel.errors import ConfigurationError, UnknownStateError
from satchel.keys import show

SEPARATOR: Final = "->"
"""What is between the flow and the state of a slug."""


def format_slug(flow: str, state: str) -> str:
    """Return the slug of a state: `format_slug("checkout", "get_address")` is `"checkout->get_address"`.

    Different states never have the same slug, as no name has the separator in it.

    Raises:
        ConfigurationError: a name cannot be one.
    """
    return check_name("flow", flow) + SEPARATOR + check_name("state", state)


def parse_slug(slug: str) -> tuple[str, str]:
    """Return the flow and the state that a slug names, whether or not there are such.

    Raises:
        UnknownStateError: it is no slug.
    """
    if isinstance(slug, str):
        flow, separator, state = slug.partition(SEPARATOR)
        if separator and _is_name(flow) and _is_name(state):
            return flow, state
    raise UnknownStateError(f"{shown(slug)} is no slug: that would be flow{SEPARATOR}state")


def check_name(kind: str, name: object) -> str:
    """Return `name` if a flow or a state can be called that.

    Raises:
        ConfigurationError: it is empty, no string, not printable, or has the separator in it.
    """
    if not isinstance(name, str) or not _is_name(name):
        reason = f"has {SEPARATOR} in it" if isinstance(name, str) and SEPARATOR in name else "is no printable text"
        raise ConfigurationError(f"a {kind} cannot be called {shown(name)}: it {reason}")
    return name


def _is_name(name: str) -> bool:
    return bool(name) and name.isprintable() and SEPARATOR not in name


def shown(thing: object) -> str:
    """Return a name for a message, or what was given in place of one."""
    return show(thing) if isinstance(thing, str) else f"a {type(thing).__name__}"
