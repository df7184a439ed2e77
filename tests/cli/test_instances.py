"""`instance ...`: every verb, as people and programs use it."""

import datetime
import json
import os
import pty
import select
import subprocess

from conftest import ENVIRONMENT
from processes import SECONDS, SIDECAR, eventually

# Beyond what a double holds exactly.
LARGE = '{"n": 9007199254740993}'


def test_start_get_list_and_history(desk):
    desk.start_worker()
    assert desk.ok("instance", "start", "echo", "--id", "order-1", "--input", LARGE, "--tag",
                   "customer=ann", "--tag", "note=a=b").out == "order-1\n"
    desk.until("order-1", "COMPLETED")
    shown = dict(line.split(maxsplit=1) for line in
                 desk.ok("instance", "get", "order-1").out.splitlines() if "tag" not in line)
    assert (shown["name"], shown["status"], shown["output"]) == ("echo", "Completed", LARGE)
    state = desk.ok("instance", "get", "order-1", "-o", "json").json
    assert (state["output"], state["tags"]) == (LARGE, {"customer": "ann", "note": "a=b"})
    created = datetime.datetime.fromisoformat(state["createdTimestamp"].replace("Z", "+00:00"))
    assert created.tzinfo == datetime.timezone.utc
    assert "output" not in desk.ok("instance", "get", "order-1", "--no-payloads").out
    random = desk.ok("instance", "start", "waits", "-o", "json").json["instanceId"]
    rows = desk.ok("instance", "history", "order-1").rows
    assert rows[1][1:] == ["ExecutionStarted", 'name=echo input={"n": 9007199254740993}']
    assert [row[1] for row in rows if len(row) == 2] == ["OrchestratorStarted"]
    history = desk.ok("instance", "history", "order-1", "-o", "json").json
    assert history[1]["executionStarted"]["input"] == LARGE

    desk.until(random, "RUNNING")
    rows = desk.ok("instance", "list").rows
    assert [row[:3] for row in rows] == [["order-1", "echo", "Completed"],
                                         [random, "waits", "Running"]]
    listed = desk.ok("instance", "list", "--output", "json").json
    assert [one["instanceId"] for one in listed] == ["order-1", random]
    for flags, ids in ((("--status", "completed,failed"), ["order-1"]),
                       (("--prefix", "order-"), ["order-1"]), (("--limit", "1"), ["order-1"]),
                       (("--created-before", "1h"), []),
                       (("--created-after", "1d", "--status=Running"), [random]),
                       (("--created-after", "2999-01-01T00:00:00Z"), [])):
        assert [row[0] for row in desk.ok("instance", "list", *flags).rows] == ids, flags


def test_a_list_is_as_long_as_was_asked_for(desk):
    for number in range(3):
        desk.ok("instance", "start", "echo", "--id", f"i{number}", "--at", "2999-01-01T00:00:00Z")
    assert [row[0] for row in desk.ok("instance", "list", "--limit", "2").rows] == ["i0", "i1"]
    state = desk.ok("instance", "get", "i0", "-o", "json").json
    assert state["scheduledStartTimestamp"] == "2999-01-01T00:00:00Z"
    assert desk.ok("instance", "why", "i0").out == "It starts at 2999-01-01 00:00:00 UTC.\n"


def test_raise_suspend_resume_terminate_restart_and_rewind(desk):
    desk.start_worker()
    desk.ok("instance", "start", "waits", "--id", "w")
    desk.until("w", "RUNNING")
    desk.ok("instance", "suspend", "w", "--reason", "lunch")
    desk.until("w", "SUSPENDED")
    assert '("lunch"), and goes on when it is resumed.' in desk.ok("instance", "why", "w").out
    desk.ok("instance", "resume", "w")
    desk.until("w", "RUNNING")
    desk.ok("instance", "raise", "w", "go", "--input", "7")
    desk.until("w", "COMPLETED")
    assert desk.ok("instance", "get", "w", "-o", "json").json["output"] == "7"
    # Again under its id, and under another.
    assert desk.ok("instance", "restart", "w").out == "w\n"
    desk.until("w", "RUNNING")
    desk.ok("instance", "terminate", "w", "--with-output", '"over"', "--yes")
    desk.until("w", "TERMINATED")
    again = desk.ok("instance", "restart", "w", "--new-id").out.strip()
    assert again != "w"
    desk.until(again, "RUNNING")

    desk.ok("instance", "start", "parent", "--id", "p", "--input", '"child"')
    eventually(lambda: desk.run("instance", "get", "child").code == 0, "the child is there")
    desk.ok("instance", "terminate", "p", "--recursive", "--yes")
    for instance_id in ("p", "child"):
        desk.until(instance_id, "TERMINATED")

    desk.ok("instance", "start", "fails", "--id", "f")
    desk.until("f", "FAILED")
    assert "errorMessage=out of paper" in desk.ok("instance", "get", "f").out
    why = desk.ok("instance", "why", "f", "-o", "json").json
    assert [(row["kind"], row["state"]) for row in why] == [("ended", "Failed")]
    desk.ok("instance", "rewind", "f", "--reason", "paper is in")
    eventually(lambda: "ExecutionRewound" in desk.ok("instance", "history", "f").out, "rewound")


def test_why_tells_people_and_programs(desk):
    desk.start_worker()
    desk.ok("instance", "start", "waits", "--id", "w")
    desk.until("w", "RUNNING")
    eventually(lambda: "an event from outside" in desk.ok("instance", "why", "w").out, "it waits")
    rows = desk.ok("instance", "why", "w", "-o", "json").json
    assert [(row["kind"], row["state"]) for row in rows] == [("event", "expected")]
    assert rows[0]["since"].endswith("Z")
    missing = desk.run("instance", "why", "nobody")
    assert (missing.code, missing.error) == (3, "durabletask-sidecar: no instance 'nobody'\n")


def test_purge(desk):
    desk.start_worker()
    for instance_id in ("a", "b", "c", "d"):
        desk.ok("instance", "start", "echo", "--id", instance_id)
        desk.until(instance_id, "COMPLETED")
    desk.ok("instance", "start", "waits", "--id", "live")
    assert desk.ok("instance", "purge", "a", "b", "--yes").out == "2 instances purged\n"
    asked = desk.run("instance", "purge", "c")
    assert asked.code == 2
    assert "this would purge 'c' with their histories" in asked.error and "--yes" in asked.error
    both = desk.run("instance", "purge", "c", "--status", "Completed", "--yes")
    assert both.code == 2 and "not both" in both.error
    assert desk.run("instance", "purge", "--yes").code == 2
    done = desk.ok("instance", "purge", "--status", "completed", "--created-before", "0s", "--yes",
                   "-o", "json")
    assert done.json == {"deletedInstanceCount": "2"}
    assert [row[0] for row in desk.ok("instance", "list").rows] == ["live"]


def test_exit_codes_and_what_to_do(desk):
    for arguments, code, says in (
            (("get", "nobody"), 3, "no instance 'nobody' in the default task hub"),
            (("history", "nobody"), 3, "nobody"),
            (("raise", "nobody", "go"), 3, "nobody"),
            (("get", "x", "--taskhub", "nowhere"), 3, "Task hub not found: nowhere"),
            (("get",), 2, "this is `instance get ID`: 1 arguments too few"),
            (("get", "a", "b"), 2, "1 arguments too many"),
            (("get", ""), 2, "is empty"),
            (("get", "a", "--fast"), 2, "`durabletask-sidecar instance get --help` lists"),
            (("get", "a", "-o", "xml"), 2, "known are table and json"),
            (("list", "--status", "Sleeping"), 2, "known are Running, Completed"),
            (("list", "--limit", "0"), 2, "from 1 to"),
            (("list", "--created-after", "yesterday"), 2, "no time such as 2026-12-01T03:00:00Z"),
            (("start", "echo", "--tag", "x"), 2, "not KEY=VALUE"),
            (("get", "a", "--timeout", "soon"), 2, "no duration such as 5s"),
            (("get", "a", "--tls-ca-file", "/nowhere"), 2, "cannot read the file '/nowhere'"),
            (("fly",), 2, "'instance fly' is no verb"), ((), 2, "what of instance?"),
            (("get", "a", "--address", "127.0.0.1:1"), 6, "127.0.0.1:1; is a daemon there")):
        done = desk.run("instance", *arguments)
        assert done.code == code, f"{arguments}: {done.code} {done.error}"
        assert says in done.error, f"{arguments}: {done.error}"
        assert done.out == ""
    desk.ok("instance", "start", "echo", "--id", "i", "--at", "1h")
    twice = desk.run("instance", "start", "echo", "--id", "i")
    assert twice.code == 5 and "already exists" in twice.error
    help_text = desk.ok("instance", "list", "--help").out
    assert "--created-before TIME" in help_text and "--token-file FILE" in help_text


def test_what_others_wrote_moves_no_cursor(desk):
    desk.ok("instance", "start", "a\x1b[2Jb", "--id", "i\x07", "--at", "1h")
    assert desk.ok("instance", "list").rows[0][:2] == ["i\\x07", "a\\x1b[2Jb"]
    assert "name        a\\x1b[2Jb\n" in desk.ok("instance", "get", "i\x07").out


def test_watch_tells_what_is_new_and_ends_with_the_instance(desk):
    desk.start_worker()
    desk.ok("instance", "start", "waits", "--id", "w")
    watch = subprocess.Popen(
        [SIDECAR, "instance", "watch", "w", "--interval", "100ms"], stdout=subprocess.PIPE,
        text=True, env={**ENVIRONMENT, "DTPG_ADDRESS": desk.daemon.address})
    for line in watch.stdout:
        if "Running  It waits for an event from outside" in line:
            break
    desk.ok("instance", "raise", "w", "go")
    rest = watch.stdout.read().splitlines()
    assert watch.wait(SECONDS) == 0
    assert "Completed  It waits for nothing: it has ended at" in rest[-1]
    desk.ok("instance", "start", "fails", "--id", "f")
    failed = desk.run("instance", "watch", "f")
    assert failed.code == 7 and "Failed  It waits for nothing" in failed.out
    assert desk.run("instance", "watch", "nobody").code == 3
    assert desk.run("instance", "watch", "w", "--interval", "0s").code == 2


class Terminal:
    """The command line on a terminal of its own."""

    def __init__(self, desk, *arguments: str):
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [SIDECAR, *arguments], stdin=slave, stdout=slave, stderr=slave, close_fds=True,
            env={**ENVIRONMENT, "DTPG_ADDRESS": desk.daemon.address})
        os.close(slave)
        self.shown = ""

    def _read(self) -> bool:
        readable, _, _ = select.select([self._master], [], [], SECONDS)
        assert readable, f"nothing for {SECONDS} s after {self.shown!r}"
        try:
            text = os.read(self._master, 4096)
        except OSError:  # its end
            return False
        self.shown += text.decode()
        return bool(text)

    def until(self, text: str) -> None:
        while text not in self.shown:
            assert self._read(), f"it ended with {self.shown!r}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._master)
        return self._process.wait(SECONDS)


def test_on_a_terminal_it_asks_before_it_ends_something(desk):
    desk.ok("instance", "start", "echo", "--id", "i", "--at", "1h")
    for answer, code in (("n\n", 5), ("\n", 5), ("y\n", 0)):
        assert desk.status("i") == "PENDING"
        terminal = Terminal(desk, "instance", "terminate", "i")
        terminal.until("This will terminate 'i' in the default task hub. Go on? [y/N] ")
        terminal.type(answer)
        assert terminal.end() == code
    assert desk.status("i") == "TERMINATED"


def test_on_a_terminal_long_work_tells_how_far_it_is(desk):
    for instance_id in ("a", "b"):
        desk.ok("instance", "start", "echo", "--id", instance_id, "--at", "1h")
        desk.ok("instance", "terminate", instance_id, "--yes")
    terminal = Terminal(desk, "hub", "purge", "--yes")
    assert terminal.end() == 0
    # It is gone when the answer is there.
    assert terminal.shown == "\r\x1b[K2 purged\r\x1b[K2 instances purged\r\n"


def test_on_a_terminal_watch_draws_over_what_it_has_shown(desk):
    desk.start_worker()
    desk.ok("instance", "start", "waits", "--id", "w")
    desk.until("w", "RUNNING")
    terminal = Terminal(desk, "instance", "watch", "w", "--interval", "100ms")
    terminal.until("It waits for an event from outside")
    desk.ok("instance", "raise", "w", "go")
    terminal.until("\x1b[1A\x1b[J")
    assert terminal.end() == 0
    assert "Completed" in terminal.shown.split("\x1b[J")[-1]


def test_json_of_a_list_of_nothing(desk):
    assert json.loads(desk.ok("instance", "list", "-o", "json").out) == []
