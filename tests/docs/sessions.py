"""sessions.py PAGE SIDECAR PYTHON: runs the sessions that a page shows, command by command, and
compares what each prints with what is shown. Times and the name of this host are compared as such,
not by their values, and columns without regard to their widths.

A session is a block after a line "<!-- session -->", or "<!-- session, with FILE -->", where the
worker FILE runs meanwhile. What changes a moment later, such as what an instance waits for, is
asked for until it is as shown; everything else is run once. The daemon's address comes from the
variable DTPG_ADDRESS.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import time

SECONDS = 30
SESSION = re.compile(r"<!-- session(?:, with (\S+))? -->\n```console\n(.*?)```\n", re.S)
READS = re.compile(r"^durabletask-sidecar (instance (why|list|get|history|watch)|worker list)\b")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| UTC)")


def steps(text):
    """The commands of a session, each with what it prints."""
    for step in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, shown = step.partition("\n")
        yield command, shown


def comparable(text):
    text = TIME.sub("TIME", text.replace(socket.gethostname(), "host-1"))
    lines = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    # The number of a daemon is that of its registration.
    return [re.sub(r"^\d+ host-1", "N host-1", line) for line in lines]


def run(command, directory):
    """What a shell prints for it, of both outputs."""
    return subprocess.run(
        ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}).stdout


def differences(text, directory):
    for command, shown in steps(text):
        deadline = time.monotonic() + SECONDS
        while comparable(printed := run(command, directory)) != comparable(shown):
            if not READS.match(command) or time.monotonic() > deadline:
                yield f"$ {command}\nis shown to print\n{shown}and printed\n{printed}"
                break
            time.sleep(0.1)


def main():
    page, sidecar, python = sys.argv[1:]
    found, faults = 0, []
    for worker, text in SESSION.findall(pathlib.Path(page).read_text()):
        found += 1
        process = subprocess.Popen([python, worker], stderr=subprocess.DEVNULL) if worker else None
        try:
            faults.extend(differences(text, pathlib.Path(sidecar).resolve().parent))
        finally:
            if process is not None:
                process.terminate()
                process.wait()
    for fault in faults:
        print(f"FAILED {page}: {fault}")
    if found == 0:
        print(f"FAILED {page} shows no session")
    return 1 if faults or found == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
