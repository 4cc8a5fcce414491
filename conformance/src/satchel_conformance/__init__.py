"""The suite that proves a Satchel storage right: for pytest, for a call of `validate()`, and as a command."""

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
