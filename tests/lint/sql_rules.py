"""Rules of the SQL in sql/logic, which sql/README.md tells: how long a function may be, where the
fence stands, and whose a name is."""

import functools
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOGIC = ROOT / "sql" / "logic"
FENCE = LOGIC / "fence.sql"
PERMISSIONS = ROOT / "sql" / "permissions.sql"
FUNCTION_LINES_MAX = 70
EXCUSE = f"Over {FUNCTION_LINES_MAX} lines:"
MADE = re.compile(r"create or replace (function|procedure|view)\s+(\w+)", re.I)
# The name is that of DurableTask.SqlServer; SQL users may call it.
API_WITH_UNDERSCORE = {"_GetVersions"}


def routines(path):
    """What a file makes: the kind, the name, the head above it and the lines, for each."""
    head, made, lines = [], None, []
    for line in path.read_text().splitlines():
        if made is None and (match := MADE.match(line)):
            made, lines = match, []
        if made is None:
            head = [*head, line] if line.startswith("--") else []
            continue
        lines.append(line)
        # A body in dollars ends with them, any other statement with the first semicolon.
        dollars = sum(one.count("$$") for one in lines)
        if line.endswith(";") and dollars in (0, 2):
            yield made[1].lower(), made[2], "\n".join(head), lines
            head, made = [], None


def length_faults(path):
    """A function fits a screen, or its head says why not."""
    for kind, name, head, lines in routines(path):
        if len(lines) > FUNCTION_LINES_MAX and EXCUSE not in head and kind != "view":
            yield (f"{name} has {len(lines)} lines, the limit is {FUNCTION_LINES_MAX}; cut it, or "
                   f"say '{EXCUSE} ...' in its head")


def fence_faults(path):
    """A lease is compared in one place only, and set where it is taken or given up."""
    if path == FENCE:
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        code = line.partition("--")[0]
        if re.search(r"(?<!set )\blease_token = |[^:]= (\w+\.)?lease_token\b(?! >>)", code):
            yield f"line {number}: a lease is compared by __Holds or __HoldsTurn (fence.sql)"


@functools.cache
def called_by_the_daemon():
    """What stands in strings of the daemon's code, which is how it names what it calls."""
    names = set()
    for folder in ("server", "storage"):
        for path in (ROOT / folder).rglob("*.cc"):
            for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', path.read_text()):
                names.update(re.findall(r"(?<!\w)_+[A-Z]\w+", text))
    return names


@functools.cache
def granted_to_sql_users():
    """The lists of sql/permissions.sql, in lower case; what views call runs with their reader's
    rights."""
    lists = re.findall(r"c_(read|run|manage) constant text\[\] := '{([^}]*)}'",
                       PERMISSIONS.read_text())
    return {name.strip() for _, names in lists for name in names.split(",")}


def name_faults(path):
    """__Inner, _Verb of the daemon, or of the SQL API: a name tells who calls."""
    for kind, name, _, _ in routines(path):
        if name.startswith("__"):
            if name in called_by_the_daemon():
                yield f"{name} is called by the daemon, so it has one underscore"
        elif name.startswith("_") and name not in API_WITH_UNDERSCORE:
            if name not in called_by_the_daemon():
                yield f"{name} is called by no code of the daemon, so it is inner: _{name}"
        elif kind != "view" and name.lower() not in granted_to_sql_users():
            yield f"{name} is granted to no SQL user (permissions.sql), so it has an underscore"
