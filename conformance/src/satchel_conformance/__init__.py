"""The suite that proves a Satchel storage right: for pytest, for a call of `validate()`, and as a command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from satchel_conformance.registry import Clause, all_clauses, select
    from satchel_conformance.results import Report, Result, Status
    from satchel_conformance.runner import validate
    from satchel_conformance.suite import StorageConformance

__all__ = [
    "Clause",
    "Report",
    "Result",
    "Status",
    "StorageConformance",
    "all_clauses",
    "select",
    "validate",
]

# The processes that clauses start need none of this, and pytest takes as long to import as they run.
_LATER = {
    "Clause": "registry",
    "Report": "results",
    "Result": "results",
    "Status": "results",
    "StorageConformance": "suite",
    "all_clauses": "registry",
    "select": "registry",
    "validate": "runner",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_LATER]
