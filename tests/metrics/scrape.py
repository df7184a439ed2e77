"""What a scrape of /metrics says, and what the files of deploy/ say of it."""

import json
import pathlib
import re
import subprocess
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
BOARD = ROOT / "deploy/prometheus/grafana-board.json"
PAGE = ROOT / "deploy/METRICS.md"
TROUBLES = ROOT / "deploy/TROUBLESHOOTING.md"

SAMPLE = re.compile(r"^(\w+?)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
NAME = re.compile(r"\b(?:durabletask|grpc|process)_[a-z0-9_]+\b")
SUFFIXES = ("_bucket", "_sum", "_count")


def get(address, path="/metrics", seconds=10):
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Scrape:
    def __init__(self, text):
        self.text = text
        self.types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
        self.samples = {}  # (name, labels as sorted pairs) -> value
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = SAMPLE.match(line).groups()
            pairs = tuple(sorted(LABEL.findall(labels or "")))
            assert (name, pairs) not in self.samples, f"twice: {line}"
            self.samples[name, pairs] = float(value)

    @classmethod
    def of(cls, address):
        status, text = get(address)
        assert status == 200, text
        return cls(text)

    def family(self, name):
        """The family of a sample's name: that of a histogram has suffixes."""
        if name in self.types:
            return name
        for suffix in SUFFIXES:
            base = name.removesuffix(suffix)
            if base != name and self.types.get(base) == "histogram":
                return base
        return None

    def sum(self, name, **labels):
        """Of all samples of the name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (of, pairs), value in self.samples.items()
                   if of == name and wanted <= set(pairs))

    def labels(self):
        """Family -> the names of the labels that its samples have, but for le."""
        found = {}
        for name, pairs in self.samples:
            found.setdefault(self.family(name), set()).update(
                label for label, _ in pairs if label != "le")
        return found


def promtool(*arguments, text=None):
    """Nothing, or what promtool has against it."""
    done = subprocess.run(["promtool", *arguments], input=text, text=True, capture_output=True)
    if done.returncode == 0 and not done.stdout.strip().startswith(("error", "[")):
        return ""
    return done.stdout + done.stderr


def names_in_alerts():
    expressions = re.sub(r"^\s*(summary|- alert|#).*$", "", ALERTS.read_text(), flags=re.M)
    return set(NAME.findall(expressions))


def names_in_board():
    board = json.loads(BOARD.read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [variable["query"]["query"] for variable in board["templating"]["list"]
                    if isinstance(variable["query"], dict)]
    return set(NAME.findall("\n".join(expressions)))


def alerts():
    return re.findall(r"^\s*- alert: (\w+)$", ALERTS.read_text(), re.M)


def rows_of_page():
    """Family -> (type, labels) as the tables of the page have them."""
    rows = {}
    for line in PAGE.read_text().splitlines():
        match = re.match(r"\| `([a-z0-9_]+)` \| (\w+) \| (.*?) \|", line)
        if match:
            labels = re.findall(r"`(\w+)`", match[3])
            assert match[1] not in rows, f"twice in the page: {match[1]}"
            rows[match[1]] = (match[2], set(labels))
    return rows
