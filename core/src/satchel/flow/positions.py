"""Where a session is, was, and shall go back to: one field of its data, so one record and one write.

The field is `{"current": slug, "previous": slug, "back_to": slug}`; what there is not, is left out.
"""

from typing import Any, Final, NamedTuple

from satchel.errors import CorruptValueError, FlowError, UnknownStateError
from satchel.flow.maps import FlowMap, Place
from satchel.flow.slugs import parse_slug

_NAMES: Final = ("current", "previous", "back_to")


class Places(NamedTuple):
    """The places of a session, in today's names.

    Attributes:
        current: where it is; None if it has not begun.
        previous: where it was before; None if it was nowhere else.
        back_to: where `step_back` goes; None if that was not set.
    """

    current: Place | None = None
    previous: Place | None = None
    back_to: Place | None = None


class Positions:
    """Reads and writes the places of a session in its data: an item of a dict, or an attribute.

    Args:
        flows: the flow map.
        field: the item or attribute.
    """

    def __init__(self, flows: FlowMap, field: str) -> None:
        self._flows = flows
        self._field = field

    def get(self, data: Any, name: str) -> Place | None:
        """Return the place that is called current, previous or back_to.

        Raises:
            UnknownStateError: there is no such state any more.
            CorruptValueError: the field holds something else.
        """
        slug = self._slugs(data).get(name)
        if slug is None:
            return None
        try:
            return self._flows.place(slug)
        except UnknownStateError as error:
            raise UnknownStateError(f"the {name} state is {slug}, and {error}") from None

    def all(self, data: Any) -> Places:
        """Return the three of them; raises what `get` raises."""
        return Places(*(self.get(data, name) for name in _NAMES))

    def move(self, data: Any, to: Place) -> None:
        """Make a place the current one, and what was current the previous one, if that was another."""
        slugs = self._slugs(data)
        was = slugs.get("current")
        if was is not None and self._today(was) != to.slug:
            slugs["previous"] = self._today(was)
        self._put(data, slugs | {"current": to.slug})

    def set_back_to(self, data: Any, to: Place) -> None:
        """Note where `step_back` is to go."""
        self._put(data, self._slugs(data) | {"back_to": to.slug})

    def carry(self, before: Any, data: Any) -> None:
        """Take the places of data over to other data, unless that has some."""
        slugs = self._slugs(before)
        if slugs and not self._slugs(data):
            self._put(data, slugs)

    def _today(self, slug: str) -> str:
        """Return the slug in today's names; one that is not known stays as it is, for who may know it again."""
        try:
            return self._flows.place(slug).slug
        except UnknownStateError:
            return slug

    def _slugs(self, data: Any) -> dict[str, str]:
        found = data.get(self._field) if isinstance(data, dict) else getattr(data, self._field, None)
        if found is None:
            return {}
        if not isinstance(found, dict) or any(not _is_slug(found[name]) for name in _NAMES if name in found):
            raise CorruptValueError(f"the field {self._field} of the session holds no places of a flow")
        return {name: found[name] for name in _NAMES if name in found}

    def _put(self, data: Any, slugs: dict[str, str]) -> None:
        slugs = {name: slugs[name] for name in _NAMES if name in slugs}
        if isinstance(data, dict):
            data[self._field] = slugs
            return
        try:
            setattr(data, self._field, slugs)
        except (AttributeError, TypeError):
            what = type(data).__name__
            message = f"the session's data is {what}: a flow needs a dict, or a class with a field {self._field}: dict"
            raise FlowError(message) from None


def _is_slug(thing: object) -> bool:
    try:
        return bool(parse_slug(thing)) if isinstance(thing, str) else False
    except UnknownStateError:
        return False
