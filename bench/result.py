"""What a measurement found: rows for people, figures for machines, goals for both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Figure = float | int | str


@dataclass(frozen=True)
class Goal:
    """A bound for one figure."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value keeps to the bound."""
        below = self.at_most is None or value <= self.at_most
        return below and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        return f"at least {self.at_least:g}" if self.at_most is None else f"at most {self.at_most:g}"


@dataclass(frozen=True)
class Row:
    """One line of the printed table."""

    what: str
    measured: str
    figure: str = ""
    """The figure that a goal is about, when there is one."""


@dataclass
class Part:
    """One measurement."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    """See ``bench.machine.shape``; taken before the measurement."""

    def missed(self) -> list[str]:
        """Goals that were not reached, in words."""
        return [
            f"{goal.figure} is {self.figures[goal.figure]}, wanted {goal}"
            for goal in self.goals
            if not goal.met(float(self.figures[goal.figure]))
        ]

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> Part:
        """From JSON."""
        return cls(
            data["name"],
            data["title"],
            [Row(**row) for row in data["rows"]],
            data["figures"],
            [Goal(**goal) for goal in data["goals"]],
            data["machine"],
        )


HEAD = ("what", "measured", "goal", "met")


def table(parts: Iterable[Part]) -> list[tuple[str, str, str, str]]:
    """(what, measured, goal, met) of every row, each part under its title."""
    lines = []
    for part in parts:
        goals = {goal.figure: goal for goal in part.goals}
        lines.append((f"**{part.title}**", "", "", ""))
        for row in part.rows:
            goal = goals.get(row.figure)
            met = "" if goal is None else "yes" if goal.met(float(part.figures[row.figure])) else "**no**"
            lines.append((row.what, row.measured, str(goal or ""), met))
    return lines


def text_table(parts: Iterable[Part]) -> str:
    """The table for a terminal."""
    rows = [HEAD, *table(parts)]
    rows = [tuple(cell.replace("**", "") for cell in row) for row in rows]  # type: ignore[misc]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def last_line(target: str, parts: Sequence[Part], **more: Figure) -> str:
    """The JSON object that ends every run."""
    figures = {name: value for part in parts for name, value in part.figures.items()}
    goals = {
        goal.figure: {"at_most": goal.at_most} if goal.at_least is None else {"at_least": goal.at_least}
        for part in parts
        for goal in part.goals
    }
    met = not any(part.missed() for part in parts)
    return json.dumps(
        {"target": target, "figures": {**figures, **more}, "goals": goals, "met": met}, ensure_ascii=False
    )
