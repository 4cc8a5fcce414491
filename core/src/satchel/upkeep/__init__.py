"""Looking after what is stored: moving it, exporting it, erasing it, migrating it, trying a storage out.

    from satchel.upkeep import copy

    async with open_storage("redis://old") as old, open_storage("postgresql://new/bot") as new:
        summary = await copy(old, new)

The commands of `satchel` are these functions, with a terminal around them.
"""

from satchel.upkeep.copying import copy
from satchel.upkeep.erasing import Named, erase, find_user
from satchel.upkeep.lines import export_lines, import_lines
from satchel.upkeep.migrating import migrate
from satchel.upkeep.outcomes import Outcome, Result, Summary
from satchel.upkeep.trying import Report, Step, try_out
from satchel.upkeep.verbatim import VERBATIM, Verbatim

__all__ = [
    "VERBATIM",
    "Named",
    "Outcome",
    "Report",
    "Result",
    "Step",
    "Summary",
    "Verbatim",
    "copy",
    "erase",
    "export_lines",
    "find_user",
    "import_lines",
    "migrate",
    "try_out",
]
