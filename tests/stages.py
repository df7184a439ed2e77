"""The stages of tests/run: what each one runs, what it needs, how its result is read.

Two stages run at a time; builds are niced, so that daemons under test get the processor first. A
stage prints to build/test-logs/STAGE.log. Its result is the last line of the log that one of the
known test programs prints as a summary; a stage without such a line, as a build, counts as one. The
times printed are since the start, of the stage, and of the processor.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "test-logs"
SLOTS = 2
TAIL_LINES = 60
FAILURE = re.compile(r"\bFAILED\b|\berror:")
FAILURES_SHOWN = 10
LINES_BEFORE, LINES_AFTER = 8, 12
STAGE_SECONDS_MAX = 40 * 60

BUILD = "nice cmake --preset {0} && nice cmake --build --preset {0} -- -k 0"
CPP = "tests/cpp {0}"


@dataclasses.dataclass(frozen=True)
class Stage:
    name: str
    command: str
    needs: tuple = ()


# In the order of their start where nothing is missing: what others wait for, and what takes long,
# comes first.
STAGES = (
    Stage("release", BUILD.format("release")),
    Stage("format", "git ls-files -z '*.cc' '*.h' | xargs -0 clang-format-14 --dry-run -Werror"),
    Stage("lint", "tests/lint/run"),
    Stage("proto", "tests/proto/run"),
    Stage("layering", "tests/layering/run"),
    Stage("suite", "python3 tests/bench/test_suite.py"),
    Stage("isolation", "tests/sql/isolation/run"),
    Stage("cpp", CPP.format("release"), ("release",)),
    Stage("asan-ubsan", BUILD.format("asan-ubsan")),
    Stage("recovery", "tests/recovery/run", ("release",)),
    Stage("tsan", BUILD.format("tsan")),
    Stage("docs", "tests/docs/run", ("release",)),
    Stage("metrics", "tests/metrics/run", ("release",)),
    Stage("gate", "tests/bench/gate", ("release",)),
    Stage("sql", "tests/sql/golden/run", ("release",)),
    Stage("cli", "tests/cli/run", ("release",)),
    Stage("postgres-14", "tests/versions/run 14", ("release",)),
    Stage("postgres-18", "tests/versions/run 18", ("release",)),
    Stage("sdk-python", "tests/sdk/run python", ("release",)),
    Stage("cpp-asan-ubsan", CPP.format("asan-ubsan"), ("asan-ubsan",)),
    Stage("sdk-javascript", "tests/sdk/run javascript", ("release",)),
    Stage("cpp-tsan", CPP.format("tsan"), ("tsan",)),
    Stage("sdk-java", "tests/sdk/run java", ("release",)),
    Stage("sdk-go", "tests/sdk/run go", ("release",)),
    Stage("sdk-dotnet", "tests/sdk/run dotnet", ("release",)),
    Stage("tidy", "nice tests/lint/tidy", ("layering",)),
)
QUICK = ("cpp",)

# How the test programs sum up: a pattern and what its groups mean, by name.
SUMMARIES = (
    # Ours.
    re.compile(r"^(?P<passed>\d+) passed, (?P<failed>\d+) failed(?:, (?P<skipped>\d+) skipped)?$"),
    # pytest: "=== 1 failed, 12 passed, 2 skipped in 3.21s ===", with the parts that are not zero.
    re.compile(r"^=*\s*(?:(?P<failed>\d+) failed)?(?:, )?(?:(?P<passed>\d+) passed)?"
               r"(?:, (?P<skipped>\d+) skipped)?(?:, \d+ \w+)* in [\d.:]+s.*$"),
    # node --test: one number a line.
    re.compile(r"^. pass (?P<passed>\d+)$"),
    re.compile(r"^. fail (?P<failed>\d+)$"),
    re.compile(r"^. skipped (?P<skipped>\d+)$"),
    # Maven, the sum of all classes.
    re.compile(r"^(?:\[\w+\] )?Tests run: (?P<run>\d+), Failures: (?P<failures>\d+), "
               r"Errors: (?P<errors>\d+), Skipped: (?P<skipped>\d+)$"),
)


@dataclasses.dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def environment():
    env = dict(os.environ)
    env.setdefault("HOME", str(ROOT / "build"))
    env["CCACHE_BASEDIR"] = str(ROOT)
    env["CCACHE_NOHASHDIR"] = "1"
    symbolizer = "/usr/lib/llvm-14/bin/llvm-symbolizer"
    env["ASAN_OPTIONS"] = f"detect_stack_use_after_return=1:external_symbolizer_path={symbolizer}"
    env["UBSAN_OPTIONS"] = f"print_stacktrace=1:external_symbolizer_path={symbolizer}"
    # Libraries that are not instrumented say nothing about the order of what they do.
    env["TSAN_OPTIONS"] = ("ignore_noninstrumented_modules=1:second_deadlock_stack=1:"
                           f"suppressions={ROOT}/tests/sanitizers/tsan.supp:"
                           f"external_symbolizer_path={symbolizer}")
    return env


def read_result(log, status):
    """The numbers of a finished stage; a failed status is at least one failure."""
    numbers = {}
    for line in log.read_text(errors="replace").splitlines():
        for pattern in SUMMARIES:
            match = pattern.match(line)
            if match:
                numbers.update({name: int(value or 0) for name, value in match.groupdict().items()})
    if "run" in numbers:
        numbers["failed"] = numbers.pop("failures") + numbers.pop("errors")
        numbers["passed"] = numbers.pop("run") - numbers["failed"] - numbers["skipped"]
    result = Result(**numbers) if numbers else Result(passed=0 if status else 1)
    if status and result.failed == 0:
        result.failed = 1
    return result


def telling(lines):
    """The lines about failures, with some before and after each, and the last ones."""
    wanted = set(range(len(lines) - TAIL_LINES, len(lines)))
    failures = [i for i, line in enumerate(lines) if FAILURE.search(line)]
    for i in failures[:FAILURES_SHOWN]:
        wanted.update(range(i - LINES_BEFORE, i + LINES_AFTER))
    return [lines[i] for i in sorted(wanted) if 0 <= i < len(lines)]


class Run:
    """The stages under way. Single-threaded: a loop that starts what can start and reaps the
    rest."""

    def __init__(self, stages):
        self.waiting = list(stages)
        self.running = {}  # stage -> (process, start time)
        self.results = {}  # stage name -> Result
        self.begin = time.monotonic()

    def start_ready(self):
        for stage in list(self.waiting):
            if len(self.running) >= SLOTS:
                return
            if any(self.results.get(name, Result()).failed for name in stage.needs):
                self.waiting.remove(stage)
                self.finish(stage, Result(failed=1), 0, 0, "not run, what it needs failed")
            elif all(name in self.results for name in stage.needs):
                self.waiting.remove(stage)
                with open(LOGS / f"{stage.name}.log", "wb") as log:
                    process = subprocess.Popen(
                        ["bash", "-c", f"set -eo pipefail; {stage.command}"], cwd=ROOT,
                        env=environment(), stdin=subprocess.DEVNULL, stdout=log,
                        stderr=subprocess.STDOUT, start_new_session=True)
                self.running[stage] = (process, time.monotonic())

    def reap(self):
        for stage, (process, start) in list(self.running.items()):
            seconds = time.monotonic() - start
            late = seconds > STAGE_SECONDS_MAX
            if late:
                os.killpg(process.pid, signal.SIGKILL)  # its own group, so nothing else is hit
            done, status, usage = os.wait4(process.pid, 0 if late else os.WNOHANG)
            if done:
                del self.running[stage]
                log = LOGS / f"{stage.name}.log"
                code = os.waitstatus_to_exitcode(status)
                result = read_result(log, code)
                note = f"status {code}" if code else ""
                if late:
                    note = f"killed after {STAGE_SECONDS_MAX} s"
                self.finish(stage, result, seconds, usage.ru_utime + usage.ru_stime, note)
                if result.failed:
                    lines = log.read_text(errors="replace").splitlines()
                    print(f"--- of {log.relative_to(ROOT)}:", *telling(lines), "---", sep="\n")

    def finish(self, stage, result, seconds, cpu_seconds, note):
        self.results[stage.name] = result
        words = [f"{time.monotonic() - self.begin:6.0f} s  {stage.name:15}",
                 f"{'FAILED' if result.failed else 'ok':6} {seconds:5.0f} s,"
                 f" cpu {cpu_seconds:5.0f} s ",
                 f"{result.passed} passed, {result.failed} failed"]
        if result.skipped:
            words.append(f", {result.skipped} skipped")
        if note:
            words.append(f" ({note})")
        print("".join(words), flush=True)

    def all(self):
        while self.waiting or self.running:
            self.start_ready()
            self.reap()
            time.sleep(0.1)


def selected(names):
    """The named stages with what they need, in the order of STAGES."""
    wanted, todo = set(), list(names)
    by_name = {stage.name: stage for stage in STAGES}
    while todo:
        name = todo.pop()
        if name not in by_name:
            sys.exit(f"tests/run: no stage '{name}'; there are {', '.join(by_name)}")
        wanted.add(name)
        todo.extend(set(by_name[name].needs) - wanted)
    return [stage for stage in STAGES if stage.name in wanted]


def main():
    parser = argparse.ArgumentParser(prog="tests/run", description="Builds and tests everything.")
    parser.add_argument("--quick", action="store_true", help="the release build and its C++ tests")
    parser.add_argument("--list", action="store_true", help="name the stages")
    parser.add_argument("stages", nargs="*", metavar="STAGE")
    arguments = parser.parse_args()
    if arguments.list:
        print(*(stage.name for stage in STAGES), sep="\n")
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    names = QUICK if arguments.quick else arguments.stages or [stage.name for stage in STAGES]
    run = Run(selected(names))
    run.all()
    total = Result(*(sum(getattr(result, field) for result in run.results.values())
                     for field in ("passed", "failed", "skipped")))
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
