"""Figures and what is made of them: medians, verdicts and tables. Pure: no process, no clock."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NONE = "-"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table: a figure of a run, by its key."""

    key: str
    title: str
    digits: int = 1


@dataclasses.dataclass(frozen=True)
class Metric:
    """A line of what is to be reached."""

    name: str
    must: float
    aim: float
    unit: str = ""
    digits: int = 2
    more_is_better: bool = False


@dataclasses.dataclass
class Table:
    """What a set shows; cells are text."""

    title: str
    columns: list[str]
    rows: list[list[str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def median(values: Iterable[float | None]) -> float | None:
    """Of the values that are known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One run made of many: the median of each number, anything else as in the first run."""
    result: dict[str, Any] = {}
    for key in dict.fromkeys(key for run in runs for key in run):
        values = [run.get(key) for run in runs]
        numbers = [value for value in values
                   if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if numbers and all(value is None or value in numbers for value in values):
            result[key] = statistics.median(numbers)
        else:
            result[key] = values[0]
    return result


def seconds_to_rate(counts: Sequence[float], bin_seconds: float, rate: float) -> float | None:
    """From when on a whole second had at least this rate; `counts` are of bins of equal length."""
    width = max(1, round(1 / bin_seconds))
    for first in range(len(counts) - width + 1):
        if sum(counts[first:first + width]) >= rate * width * bin_seconds:
            return first * bin_seconds
    return None


def ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def paired_ratio(runs: Sequence[Mapping], bases: Sequence[Mapping], key: str) -> float | None:
    """Median of the ratios of runs that followed each other, which share the machine's mood."""
    return median(ratio(run.get(key), base.get(key)) for run, base in zip(runs, bases))


def number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"


def verdict(metric: Metric, measured: float | None) -> str:
    """Where a figure stands between what must be reached and what is aimed at."""
    if measured is None:
        return "not measured"
    sign = 1 if metric.more_is_better else -1
    if sign * measured >= sign * metric.aim:
        return "aim"
    return "must" if sign * measured >= sign * metric.must else "MISSED"


def verdict_table(title: str, lines: Sequence[tuple[Metric, float | None]]) -> Table:
    table = Table(title, ["metric", "must", "aim", "measured", "verdict"])
    for metric, measured in lines:
        def text(value: float | None, metric: Metric = metric) -> str:
            return number(value, metric.digits) + (metric.unit if value is not None else "")
        table.rows.append([metric.name, text(metric.must), text(metric.aim), text(measured),
                           verdict(metric, measured)])
    return table


def figure_table(title: str, columns: Sequence[Column],
                 lines: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """One line for each named run; columns that no run knows are left out."""
    known = [column for column in columns
             if any(figures.get(column.key) is not None for _, figures in lines)]
    table = Table(title, ["", *(column.title for column in known)])
    for name, figures in lines:
        table.rows.append([name, *(number(figures.get(column.key), column.digits)
                                   for column in known)])
    return table


def markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    numeric = [i > 0 and all(is_number(row[i]) for row in table.rows)
               for i in range(len(table.columns))]
    ruler = "|" + "|".join("---:" if right else "---" for right in numeric) + "|"
    text = [f"### {table.title}", "", line(table.columns), ruler, *map(line, table.rows)]
    for note in table.notes:
        text += ["", note]
    return "\n".join(text) + "\n"


def is_number(cell: str) -> bool:
    return cell == NONE or cell[:1].isdigit() or cell[:1] in "-+."


def machine_lines(machine: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in machine.items()) + "\n"
