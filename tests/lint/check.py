"""Checks of the files that no compiler reads: scripts, Python, YAML, the systemd unit, the README;
that each case of tests/cases.txt has a test; that each rule and file that a comment names exists,
and what a page links to.

Each file and each rule is one check. Ends with "N passed, N failed".
"""

import ast
import functools
import pathlib
import re
import subprocess
import sys

import log_events
import sql_rules
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "cases.txt"
RULES = ROOT / "server" / "RULES.md"
DISPATCH = ROOT / "server" / "dispatch"
TESTS_MADE = ROOT / "tests" / "CMakeLists.txt"
THREADS = re.compile(r"std::thread|\bkThread\b|\bDispatchThread \w+[;({]|\bListener \w+[({]")
DESCRIPTIONS = ROOT / "sql" / "logic" / "zz_descriptions.sql"
FILE_LINES_MAX = 600
COLUMNS_MAX = 100  # of .cc and .h clang-format sees to it
# Spelled in two parts, so that this file passes its own check.
LEFTOVERS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|not imple" + r"mented)\b")
CITED_RULES = re.compile(r"\((?:((?:sql/)?RULES\.md) )?(\d+\.\d+(?:(?:, | and |-|; )\d+\.\d+)*)\)")
CITED_FILES = re.compile(r"(?<![\w/])(?:[\w-]+/)*[\w-]+\.(?:h|cc|sql|md|proto)\b")
FOREIGN_FILES = {"netinet/tcp.h", "tcp_posix.cc"}  # of the system and of gRPC
CODE = {".cc", ".h", ".sql", ".sh", ".py", ".js", ".java", ".go"}


def tracked():
    output = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    return [ROOT / name for name in output.stdout.decode().split("\0") if name]


def is_shell(path):
    with path.open("rb") as stream:
        return b"bash" in stream.readline(64) if path.suffix in ("", ".sh") else False


def is_script(path):
    with path.open("rb") as stream:
        return path.suffix in ("", ".sh") and stream.read(2) == b"#!"


def shell_faults(path):
    """Syntax, and the two settings without which a script goes on after an error."""
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
    if done.returncode:
        yield done.stderr.strip()
    if "set -euo pipefail" not in path.read_text():
        yield "no 'set -euo pipefail'"
    if not path.stat().st_mode & 0o100:
        yield "is not executable"


def width_faults(path):
    """No line is wider than the limit, but for tables, links and blocks of code in pages, and for
    words that cannot be broken."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if path.suffix == ".md":
            fenced ^= line.lstrip().startswith("```")
            if fenced or line.lstrip().startswith("|"):
                continue
            line = re.sub(r"\]\([^)]*\)", "]", line)
        if len(line) > COLUMNS_MAX and max(map(len, line.split())) < COLUMNS_MAX - 10:
            yield f"line {number}: {len(line)} columns, the limit is {COLUMNS_MAX}"


def python_faults(path):
    try:
        ast.parse(path.read_text())
    except SyntaxError as error:
        yield str(error)


def yaml_faults(path):
    """Parses; and what claims to be a Kubernetes object has a kind, a version and a name."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except yaml.YAMLError as error:
        yield str(error)
        return
    if "kubernetes" in path.parts:
        for number, document in enumerate(documents, 1):
            for key in ("apiVersion", "kind", "metadata"):
                if not isinstance(document, dict) or key not in document:
                    yield f"document {number} has no {key}"
            if isinstance(document, dict):
                yield from pod_faults(document)


def pod_faults(document):
    """What every pod of ours sets: it needs nothing of Kubernetes, and no right on its node."""
    pod = document.get("spec", {}).get("template", {}).get("spec")
    if pod is None:
        return
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or "seccompProfile" not in context:
        yield "the pod lacks runAsNonRoot or seccompProfile"
    for container in pod.get("initContainers", []) + pod.get("containers", []):
        name, context = container["name"], container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                  "capabilities": {"drop": ["ALL"]}}
        if any(context.get(key) != value for key, value in wanted.items()):
            yield f"the securityContext of {name} lacks one of {', '.join(wanted)}"
        if not container["image"].startswith("durabletask-postgres"):
            continue
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{name} has no limit of memory"
        probes = ("startupProbe", "readinessProbe", "livenessProbe")
        if document["kind"] == "Deployment" and any(probe not in container for probe in probes):
            yield f"{name} lacks one of {', '.join(probes)}"


def code_faults(path):
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if LEFTOVERS.search(line):
            yield f"line {number}: {line.strip()}"
    if path.suffix in (".cc", ".h") and len(lines) > FILE_LINES_MAX:
        yield f"{len(lines)} lines, the limit is {FILE_LINES_MAX}"


def numbers_of(path):
    """The numbers of the rules of a rulebook: **3.4**, or item 4 of the section "## 3."."""
    text = path.read_text()
    numbers = set(re.findall(r"\*\*(\d+\.\d+)", text))
    section = ""
    for line in text.splitlines():
        if heading := re.match(r"#+ (\d+(?:\.\d+)?)\.? ", line):
            section = heading[1]
            numbers.add(section)
        elif item := re.match(r"(\d+)\. ", line):
            numbers.add(f"{section}.{item[1]}")
    return numbers


def citation_faults(path):
    """A comment names only rules that there are, as (3.4), (RULES.md 3.4) or (sql/RULES.md 5.14),
    and files."""
    mark = "--" if path.suffix == ".sql" else "//"
    for number, line in enumerate(path.read_text().splitlines(), 1):
        comment = line.partition(mark)[2]
        for book, cited in CITED_RULES.findall(comment):
            book = ROOT / (book if "/" in book else "server/RULES.md")
            for rule in re.findall(r"\d+\.\d+", cited):
                if rule not in rule_numbers(book):
                    yield f"line {number}: {book.relative_to(ROOT)} has no rule {rule}"
        for name in CITED_FILES.findall(comment):
            if name not in FOREIGN_FILES and not any(
                    there.endswith("/" + name) for there in tracked_names()):
                yield f"line {number}: there is no file {name}"


@functools.cache
def rule_numbers(book):
    return numbers_of(book)


@functools.cache
def tracked_names():
    return ["/" + str(path.relative_to(ROOT)) for path in tracked()]


def link_faults(path):
    """A page links only to files and headings that there are."""
    for line_number, line in enumerate(path.read_text().splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, heading = target.partition("#")
            page = (path.parent / name).resolve() if name else path
            if not page.exists():
                yield f"line {line_number}: there is no {target}"
            elif heading and heading not in headings_of(page):
                yield f"line {line_number}: {page.name} has no heading {heading}"


def order_faults(path):
    """The dispatcher repeats a run exactly: nothing it does follows the order of a hash table."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        walked = (re.search(r"\bfor \(.* : .*?(\w+)(?:\[[^]]*\](?:\(.*\))?)*\)(?: |$)", line) or
                  re.search(r"(\w+)\.begin\(\)", line))
        excused = "In any order:" in lines[number - 2]
        if walked and walked[1] in hash_tables(path.stem) and not excused:
            yield (f"line {number}: walks the hash table {walked[1]}. Walk something that has an "
                   f'order, or say in the line before "// In any order: " and why it does not '
                   f"matter")


@functools.cache
def hash_tables(stem):
    """What the dispatcher keeps in hash tables: what these files do, and the fields that others
    see."""
    kept = re.compile(r"\bflat_hash_(?:map|set)<[^;()]*>\s+(\w+)")
    return {name for path in DISPATCH.glob("*.*") for name in kept.findall(path.read_text())
            if path.stem == stem or path.suffix == ".h" and not name.endswith("_")}


@functools.cache
def headings_of(page):
    """The headings of a page, as links name them."""
    titles = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def description_faults(path):
    """What psql shows of tables and functions is what their heads say."""
    done = subprocess.run([ROOT / "sql" / "describe", "--check"], capture_output=True, text=True)
    if done.returncode:
        yield done.stdout.strip() or done.stderr.strip()


def checks_of(path):
    if path.is_symlink() or not path.exists():
        return
    if is_shell(path):
        yield shell_faults
    if path.suffix in (".sql", ".py", ".md") or is_script(path):
        yield width_faults
    if path.suffix == ".py":
        yield python_faults
    if path.parent == sql_rules.LOGIC:
        yield sql_rules.length_faults
        yield sql_rules.fence_faults
        yield sql_rules.name_faults
    if path.suffix in (".yaml", ".yml"):
        yield yaml_faults
    if path.suffix in CODE:
        yield code_faults
    if path.parent == DISPATCH and path.suffix in CODE:
        yield order_faults
    if path.suffix in (".cc", ".h", ".sql"):
        yield citation_faults
    if path.suffix in CODE | {".md"} and path.parent != ROOT / "tests" / "lint":
        yield log_events.event_faults
    if path.suffix == ".md":
        yield link_faults
    if path == log_events.PAGE:
        yield log_events.page_faults
    if path == DESCRIPTIONS:
        yield description_faults
    if path == CASES:
        yield case_faults
    if path == TESTS_MADE:
        yield thread_faults
    if path == RULES:
        yield row_faults


def thread_faults(path):
    """The thread sanitizer is shown every test file that has threads."""
    lists = re.findall(r'^set\(DT_THREADED_(\w+) ([^)]*)\)', path.read_text(), re.MULTILINE)
    if not lists:
        yield "there are no lists DT_THREADED_*"
    for folder, shown in lists:
        for source in sorted((path.parent / folder).glob("*.cc")):
            if THREADS.search(source.read_text()) and source.name not in shown.split():
                yield f"{folder}/{source.name} has threads; name it in DT_THREADED_{folder}"


def test_names():
    """What test cases are called: in C++ the words before the first colon, in Python the
    function."""
    names = set()
    for path in tracked():
        if path.suffix == ".cc":
            for title in re.findall(r'TEST_CASE\(\s*"([^"]*)"', path.read_text()):
                names.update(re.findall(r"\w+", title.split(":")[0]))
        elif path.suffix == ".py":
            names.update(re.findall(r"def test_(\w+)", path.read_text()))
    return names


def case_faults(path):
    """Every case has a test, and is named once."""
    names, seen = test_names(), set()
    for line in path.read_text().splitlines():
        if not line or line[0] in "#[":
            continue
        if line not in names:
            yield f"no test case is called {line}"
        if line in seen:
            yield f"{line} is there twice"
        seen.add(line)


def row_faults(path):
    """Each row of the table of absent and empty fields names its tests in the last column."""
    names, rows = test_names(), 0
    for line in path.read_text().split("\n## 12.")[1].splitlines():
        if not line.startswith("|") or line.startswith(("|---", "| Field |")):
            continue
        rows += 1
        tests = line.strip("| ").split("|")[-1]
        named = re.findall(r"`(\w+)`", tests)
        if not named and "with the entities" not in tests:
            yield f"no test in: {line}"
        yield from (f"no test case is called {name}" for name in named if name not in names)
    if not rows:
        yield "the table of section 12 is gone"


def main():
    passed, failed = 0, 0
    for path in tracked():
        for check in checks_of(path):
            faults = list(check(path))
            passed, failed = (passed, failed + 1) if faults else (passed + 1, failed)
            for fault in faults:
                print(f"FAILED {path.relative_to(ROOT)}: {fault}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
