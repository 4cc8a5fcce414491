"""Draws the tables that have ratios: a panel for each, a bar for each contender, and a line where it is even."""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Table

COLUMN = "p50, ratio"
_MANY = 64


def draw(tables: Sequence[Table], caption: str, file: Path) -> None:
    """Draw median times, as ratios to what each is compared with, into an SVG or PNG; shorter bars are faster."""
    drawn = [table for table in tables if COLUMN in table.rows[0]]
    if not drawn:
        return
    across = min(2, len(drawn))
    down = math.ceil(len(drawn) / across)
    heights = [max(len(_bars(table)) for table in drawn[row * across : (row + 1) * across]) for row in range(down)]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "satchel", "font.size": 9}):
        figure = Figure(figsize=(5.6 * across, sum(0.24 * height + 1.0 for height in heights)), layout="constrained")
        ratios = [height + 4 for height in heights]
        panels = figure.subplots(down, across, squeeze=False, gridspec_kw={"height_ratios": ratios})
        for panel, table in zip(panels.flat, drawn, strict=False):
            _draw(panel, table)
        for panel in panels.flat[len(drawn) :]:
            panel.set_visible(False)
        figure.suptitle(f"Median time of a turn, as a ratio: left of the line is faster\n{caption}", fontsize=8)
        figure.savefig(file, dpi=150)


def _draw(panel: Axes, table: Table) -> None:
    bars = _bars(table)
    names = list(bars)
    others = [":" in row[""] or (table.question == "peers" and "Satchel" not in row[""]) for row in _kept(table)]
    colours = ["#b0b0b0" if other else "#2a6f97" for other in others]
    drawn = panel.barh(range(len(names)), list(bars.values()), color=colours)
    panel.bar_label(drawn, fmt="%.2f", padding=2)
    panel.set_yticks(range(len(names)), names)
    panel.invert_yaxis()
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_xlim(0, 1.15 * max(1.2, *bars.values()))
    panel.set_title(fill(table.title, 24), loc="left", fontweight="bold")
    panel.spines[["top", "right"]].set_visible(False)


def _bars(table: Table) -> dict[str, float]:
    """Return the ratios by what is measured."""
    return {_name(row): row[COLUMN] for row in _kept(table)}


def _name(row: dict[str, Any]) -> str:
    size = [f"{row['bytes'] / 1000:g} KB"] if "bytes" in row else []
    return ", ".join([row[""], *size, f"×{row['workers']}"])


def _kept(table: Table) -> list[dict[str, Any]]:
    """Return the rows that have a bar: of the smallest and the largest session, and of one worker and of many.

    What is compared with itself has none.
    """
    sizes = sorted({row["bytes"] for row in table.rows if "bytes" in row})
    workers = sorted({row["workers"] for row in table.rows if row["workers"] <= _MANY})
    drawn = {*sizes[:1], *sizes[-1:], None}, {*workers[:1], *workers[-1:]}
    rows = [row for row in table.rows if row.get("bytes") in drawn[0] and row["workers"] in drawn[1]]
    return [row for row in rows if row[COLUMN] != 1 or ":" not in row[""]]
