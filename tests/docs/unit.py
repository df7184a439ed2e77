"""Checks the systemd unit: that it is well-formed and locked down, and that the daemon can live in
it.

unit.py UNIT SIDECAR URL QUICKSTART...: runs the program SIDECAR as the unit does on the database at
URL, under strace, with the command QUICKSTART as its worker and client; whatever system call it
makes must be one that the unit's SystemCallFilter allows. Ends with "N passed, N failed".
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

SECONDS = 60
# Tenths of what `systemd-analyze security` prints: 12 with systemd 252; without the filter 18.
EXPOSURE_MAX = 14
TLS_SUBJECT = "/CN=localhost"


def systemd_analyze(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def checked_copy(unit, sidecar, directory):
    """The unit, with a program that is there."""
    copy = directory / unit.name
    text, count = re.subn(r"^ExecStart=\S+", f"ExecStart={sidecar}", unit.read_text(), flags=re.M)
    assert count == 1, f"{unit} has {count} lines ExecStart="
    copy.write_text(text)
    return copy


def call_sets():
    """The names that each set of system calls holds; a set may name others."""
    sets, name = {}, None
    for line in systemd_analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif name and line.startswith("    ") and not line.strip().startswith("#"):
            sets[name].append(line.strip())
        elif not line.startswith(" "):
            name = None
    return sets


def calls_of(item, sets):
    if not item.startswith("@"):
        return {item}
    return set().union(*(calls_of(part, sets) for part in sets[item]))


def allowed_calls(unit):
    """As systemd reads the lines: a first list that allows, with what is always allowed; then in
    order."""
    sets = call_sets()
    lines = re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), flags=re.M)
    assert lines and not lines[0].startswith("~"), "the first SystemCallFilter= must allow"
    allowed = calls_of("@default", sets)
    for line in lines:
        named = set().union(*(calls_of(item, sets) for item in line.lstrip("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def eventually(condition, what):
    deadline = time.monotonic() + SECONDS
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {SECONDS} s: {what}")
        time.sleep(0.1)
    return answer


def calls_made(sidecar, url, quickstart, directory):
    """The names of the calls of a daemon that serves the quickstart over a unix socket, beside
    TLS."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-nodes", "-subj", TLS_SUBJECT, "-days", "1", "-keyout", key,
                    "-out", certificate],
                   check=True, capture_output=True)
    address = f"unix:{directory}/socket"
    summary = directory / "calls"
    # -D: the tracer is the grandchild, so that the signal below is the daemon's.
    command = ["strace", "-D", "-f", "-c", "-o", summary, sidecar, "serve", "--postgres", url,
               "--listen", f"{address},127.0.0.1:0", "--listen-tls-certificate-file", certificate,
               "--listen-tls-key-file", key, "--retention-enabled"]
    daemon = subprocess.Popen(command)
    try:
        def serves():
            assert daemon.poll() is None, "the daemon has ended"
            return subprocess.run([sidecar, "healthcheck", "--address", address],
                                  capture_output=True).returncode == 0
        eventually(serves, "the daemon serves")
        subprocess.run(quickstart, check=True, env=dict(os.environ, DTPG_ADDRESS=address),
                       stdout=subprocess.DEVNULL, timeout=SECONDS)
    finally:
        daemon.terminate()
        status = daemon.wait(SECONDS)
    assert status == 0, f"the daemon ended with {status}"
    text = eventually(lambda: summary.exists() and re.search(r" total\n\Z", summary.read_text())
                      and summary.read_text(), "strace has summed up")
    names = {line.split()[-1] for line in text.splitlines()[2:-2]}
    assert {"accept4", "execve", "sendmsg"} <= names, f"strace has not seen a daemon: {names}"
    return names


def faults(unit, sidecar, url, quickstart):
    """One list for each check."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        copy = checked_copy(unit, sidecar, directory)
        verified = systemd_analyze("verify", "--man=no", copy)
        silent = [] if verified.returncode == 0 else ["failed"]
        yield "verify", verified.stderr.splitlines() or silent
        secure = systemd_analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", copy)
        lines = secure.stdout.splitlines() + [secure.stderr]
        yield "security", [] if secure.returncode == 0 else lines
        made, allowed = calls_made(sidecar, url, quickstart, directory), allowed_calls(unit)
        yield "system calls", [f"the filter forbids {call}" for call in sorted(made - allowed)]


def main():
    unit, sidecar, url, *quickstart = sys.argv[1:]
    failed = count = 0
    for check, found in faults(pathlib.Path(unit), sidecar, url, quickstart):
        count += 1
        failed += bool(found)
        for fault in found:
            print(f"FAILED {unit}, {check}: {fault}")
    print(f"{count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
