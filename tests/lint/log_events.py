"""Checks that the log has one form of events, and that operators are told of each.

storage/log_events.h has the names and numbers, deploy/LOG.md tells what they mean; what logs or
explains an event names one of these.
"""

import functools
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "storage" / "log_events.h"
PAGE = ROOT / "deploy" / "LOG.md"
EVENT = re.compile(r"\b([A-Z][A-Za-z]+) \((3\d\d)\)")
EVENT_IN_OLD_FORM = re.compile(r"\[3\d\d [A-Z][A-Za-z]+\]")
# A call of spdlog, with the level in its name or in its arguments.
LOG_CALL = re.compile(r"spdlog::(\w+)\((.*?)\);", re.DOTALL)
LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "err": "error", "error": "error",
          "critical": "critical"}


@functools.cache
def table():
    """The table in the code: constant -> (name, number)."""
    rows = re.findall(r"(k\w+)\[\] = \"(\w+) \((\d+)\)\"", TABLE.read_text())
    return {constant: (name, number) for constant, name, number in rows}


def events_in(text):
    """The events that a piece of code or text names, by their constants or as they are logged."""
    constants = re.findall(r"log_event::(k\w+)", text)
    return {table()[name] for name in constants if name in table()} | set(EVENT.findall(text))


def logged():
    """The events of all log lines of C++, each with its levels."""
    events = {}
    files = subprocess.run(["git", "ls-files", "-z", "server/*.cc", "storage/*.cc"], cwd=ROOT,
                           check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, files):
        path = ROOT / name
        for call, arguments in LOG_CALL.findall(path.read_text() if path.exists() else ""):
            levels = [call] if call in LEVELS else re.findall(r"level::(\w+)", arguments)
            for event in events_in(arguments):
                events.setdefault(event, set()).update(LEVELS[level] for level in levels)
    return events


def event_faults(path):
    """What logs or explains events names those of the table, and in one form."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for name, event in events_in(line) - set(table().values()):
            yield f"line {number}: storage/log_events.h has no {name} ({event})"
        if EVENT_IN_OLD_FORM.search(line):
            yield f"line {number}: write events as NAME (NUMBER)"


def page_faults(path):
    """The table, the page and the lines of the log have the same events at the same levels."""
    if {constant[1:] for constant in table()} != {name for name, _ in table().values()}:
        yield "a constant of storage/log_events.h is not called by its event"
    if len({number for _, number in table().values()}) != len(table()):
        yield "storage/log_events.h has a number twice"
    rows = re.findall(r"(?m)^\| (\d+) \| (\w+) \| ([a-z, ]+) \|", path.read_text())
    told = {(name, number): set(levels.split(", ")) for number, name, levels in rows}
    found = logged()
    for event in sorted(set(table().values()) | set(told) | set(found)):
        name = "{} ({})".format(*event)
        if event not in told:
            yield f"{name} is not in the catalogue"
        elif event not in found:
            yield f"nothing logs {name}"
        elif told[event] != found[event]:
            yield f"{name} is logged at the levels {', '.join(sorted(found[event]))}"
