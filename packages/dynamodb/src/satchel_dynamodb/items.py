"""Items as DynamoDB has them: with types of its own, and changed under conditions."""

from collections.abc import Mapping
from typing import Any, Final

_ALIVE: Final = "(attribute_not_exists(expires_at) OR expires_at > :now)"
ABSENT: Final = "attribute_not_exists(session_key) OR expires_at <= :now"
PRESENT: Final = f"attribute_exists(session_key) AND {_ALIVE}"
UNCHANGED: Final = f"version = :expected AND {_ALIVE}"
LISTED: Final = f"begins_with(session_key, :prefix) AND {_ALIVE}"
ENDED: Final = "begins_with(session_key, :prefix) AND attribute_exists(offloaded) AND expires_at <= :now"
STILL_ENDED: Final = "offloaded = :offloaded AND expires_at <= :now"


class Items:
    """Items on their way to a client, and from it.

    Args:
        untyped: the client itself turns Python's types into DynamoDB's, and back.
    """

    def __init__(self, *, untyped: bool) -> None:
        self._untyped = untyped

    def typed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes as the client takes them."""
        return dict(values) if self._untyped else {name: _typed(value) for name, value in values.items()}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes that came from the client; numbers may be text."""
        if self._untyped:
            return dict(values)
        return {name: value for name, typed in values.items() for value in typed.values()}

    def condition(self, expression: str, **values: Any) -> dict[str, Any]:
        """Return the part of a request that is its condition, with values for the names in it."""
        named = self.typed({f":{name}": value for name, value in values.items()})
        return {"ConditionExpression": expression, "ExpressionAttributeValues": named}


def is_untyped(db: Any) -> bool:
    """Tell whether a client turns Python's types into DynamoDB's by itself, as the one inside of a resource does."""
    params = {"Key": {"session_key": {"S": ""}}}
    model = db.meta.service_model.operation_model("GetItem")
    db.meta.events.emit("before-parameter-build.dynamodb.GetItem", params=params, model=model, context={})
    return params["Key"]["session_key"] != {"S": ""}


def _typed(value: str | bytes | int) -> dict[str, Any]:
    match value:
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case _:
            return {"N": str(value)}
