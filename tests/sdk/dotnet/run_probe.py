"""Runs the .NET probe against a server, with the SDK's defaults and with --managed, and compares
what fails with expected_failures.txt. Both at the same time, since they mostly wait; each run has a
task hub of its own. Ends with "N passed, N failed".

    run_probe.py PROGRAM HOST:PORT
"""

import concurrent.futures
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
MODES = {"defaults": [], "managed": ["--managed"]}
PARALLEL = 6
SECONDS_MAX = 600


@dataclasses.dataclass
class Expected:
    groups: set = dataclasses.field(default_factory=set)
    scenarios: set = dataclasses.field(default_factory=set)


def read_expected():
    expected = Expected()
    for line in (HERE / "expected_failures.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        kind, name, reason = line.split(maxsplit=2)
        if kind not in ("group", "scenario") or not reason:
            sys.exit(f"expected_failures.txt: '{line}' is neither a group nor a scenario with a "
                     "reason")
        (expected.groups if kind == "group" else expected.scenarios).add(name)
    return expected


def run(program, address, options, expected):
    """The results of all scenarios but those of the groups that are left out."""
    with tempfile.TemporaryDirectory() as scratch:
        results = pathlib.Path(scratch) / "results.json"
        skip = ["--skip", ",".join(sorted(expected.groups))] if expected.groups else []
        subprocess.run([program, "--address", f"http://{address}", "--parallel", str(PARALLEL),
                        "--json", results, *skip, *options],
                       timeout=SECONDS_MAX, stdout=subprocess.DEVNULL, check=False)
        return json.loads(results.read_text())


def main():
    program, address = sys.argv[1:]
    expected = read_expected()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = {mode: pool.submit(run, program, address, options, expected)
                for mode, options in MODES.items()}
    for mode, finished in runs.items():
        results = finished.result()
        unknown = expected.scenarios - {result["name"] for result in results}
        faults = [f"{name}: expected to fail, and not there" for name in sorted(unknown)]
        for result in results:
            name = result["name"]
            if result["passed"] and name in expected.scenarios:
                faults.append(f"{name}: passes; take it out of expected_failures.txt")
            elif not result["passed"] and name not in expected.scenarios:
                faults.append(f"{name}: {result['reason']}")
        print(f"{mode}: {len(results)} scenarios, {sum(r['passed'] for r in results)} pass; "
              f"left out: {', '.join(sorted(expected.groups)) or 'nothing'}; "
              f"known to fail: {', '.join(sorted(expected.scenarios)) or 'nothing'}")
        for fault in faults:
            print(f"FAIL {mode} {fault}")
        passed += len(results) - len(faults)
        failed += len(faults)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
