"""Measures named sets, and writes what it found as Markdown and as JSON, with the machine.

Every figure is the median of repetitions that take turns with those of the other loads and builds
of their set. It measures; only the set `done` says what is wanted.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

import machine
import loads
import fleet
from done import done
from idle import idle
from kill import kill
from runs import NULL, Bench, Outcome
from servers import note
from soak import soak
from tables import machine_lines, markdown

# Name -> what it shows, and who measures it.
SETS: dict[str, tuple[str, Callable[[Bench], Outcome]]] = {
    "chains": ("W1: chains of 3, 5 and 50 with 1, 64 and 256 in flight", loads.chains),
    "fanout": ("W2: fan-out of 10, 100 and 1,000", loads.fanouts),
    "tree": ("W3: trees of sub-orchestrations, 3 wide and 3 deep", loads.tree),
    "timers": ("W4: 100,000 timers within 60 s, 10,000 at one instant", loads.timers),
    "events": ("W5: events to 10,000 instances, 1,000 events to one", loads.events),
    "generations": ("W6: 1,000 generations by continue-as-new", loads.generations),
    "entities": ("W8: signals and calls of one entity and of 1,000, locks of two of 100",
                 loads.entities),
    "long": ("W7: chains of 1,000 and of 10, with and without history streaming", loads.long),
    "payloads": ("W9: inputs and results of 1 KB, 64 KB and 1 MB", loads.payloads),
    "idle": ("W10: 0, 10,000 and 1,000,000 waiting instances and nothing to do", idle),
    "low": ("W11: 10 starts a second", loads.low),
    "drain": ("W12: 50,000 queued, then drained beside 100,000 finished", loads.drain),
    "kill": ("W13: kill -9 of daemon, PostgreSQL and worker at full load", kill),
    "soak": ("W14: --minutes of load, a transaction held open for half of them", soak),
    "done": ("what issue 4 wants, with verdicts", done),
    "fleet": ("what issue 18 wants of several daemons on one PostgreSQL; --only for some rows",
              fleet.measure),
}
RESULTS = machine.ROOT / "build" / "bench"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/suite", description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help="what to measure; --list names all")
    parser.add_argument("--list", action="store_true", help="name the sets")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--warmup-seconds", type=float, default=3)
    parser.add_argument("--minutes", type=float, default=20, help="of the soak")
    parser.add_argument("--kill-in-flight", type=int, default=10_000, metavar="NUMBER",
                        help="orchestrations in flight when something is killed")
    parser.add_argument("--waiting", type=int, default=1_000_000, metavar="NUMBER",
                        help="waiting instances, at most, of an idle daemon")
    parser.add_argument("--finished", type=int, default=1_000_000, metavar="NUMBER",
                        help="finished instances of the aged database")
    parser.add_argument("--only", action="append", choices=list(fleet.ROWS), metavar="ROW",
                        help="of the set fleet only this row, or these: " + ", ".join(fleet.ROWS))
    parser.add_argument("--baseline", type=pathlib.Path, metavar="PROGRAM",
                        help="another build of durabletask-sidecar, which takes turns with this "
                             "one")
    parser.add_argument("--null", action="store_true",
                        help=f"also the daemon without PostgreSQL, {NULL.name}")
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE",
                        help="FILE.md and FILE.json; default: by the time, in build/bench")
    options = parser.parse_args()
    if unknown := [name for name in options.sets if name not in SETS]:
        parser.error(f"no set {', '.join(unknown)}; there are {', '.join(SETS)}")
    if not options.sets and not options.list:
        parser.error(f"name a set: {', '.join(SETS)}")
    if options.repetitions < 1:
        parser.error("--repetitions must be 1 or more")
    for wanted, program in ((options.baseline, options.baseline), (options.null, NULL)):
        if wanted and not program.is_file():
            parser.error(f"{program} is missing; build it")
    return options


class Report:
    """The two files, written anew after each set, so that a run that is ended keeps what it has."""

    def __init__(self, options: argparse.Namespace, about: dict):
        stem = options.output or RESULTS / time.strftime("%Y%m%d-%H%M%S")
        stem.parent.mkdir(parents=True, exist_ok=True)
        self.markdown_file = stem.with_name(stem.name + ".md")
        self._json_file = stem.with_name(stem.name + ".json")
        self._about = about
        self._outcomes: dict[str, Outcome] = {}

    def add(self, name: str, outcome: Outcome, settings: dict[str, str]) -> None:
        self._outcomes[name] = outcome
        about = self._about | {f"PostgreSQL {name}": value for name, value in settings.items()}
        self.markdown_file.write_text(machine_lines(about) + "\n" + self.tables())
        self._json_file.write_text(json.dumps(dict(
            machine=about, sets={name: found.figures for name, found in self._outcomes.items()}),
            indent=1))

    def tables(self) -> str:
        return "\n".join(markdown(table) for found in self._outcomes.values()
                         for table in found.tables)


def main() -> None:
    options = parse()
    if options.list:
        for name, (text, _) in SETS.items():
            print(f"{name:<12}{text}")
        return
    with tempfile.TemporaryDirectory(prefix="dt-suite-") as scratch:
        root = pathlib.Path(scratch)
        root.chmod(0o755)  # PostgreSQL's own user must be able to get through it.
        about = machine.describe(root) | {
            "repetitions": options.repetitions, "seconds of each": options.seconds}
        report = Report(options, about)
        bench = Bench(options, root)
        for name in options.sets:
            begin = time.monotonic()
            report.add(name, SETS[name][1](bench), bench.settings)
            note(f"{name}: {time.monotonic() - begin:.0f} s")
    print(report.markdown_file.read_text())
    note(f"written: {report.markdown_file} and .json")


if __name__ == "__main__":
    sys.exit(main())
