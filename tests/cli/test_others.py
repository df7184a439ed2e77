"""`hub`, `entity`, `worker` and `completion`; tokens and TLS."""

import hashlib
import socket
import subprocess

import pytest

from processes import SECONDS, SIDECAR, eventually

HUBS = pytest.mark.options("--hubs-deletion-enabled")


@HUBS
def test_hubs_come_and_go(desk):
    assert desk.ok("hub", "list").out == "shop\n"
    desk.ok("hub", "create", "bank")
    desk.ok("hub", "create", "bank")
    assert desk.ok("hub", "list", "-o", "json").json == {"names": ["bank", "shop"]}
    desk.ok("instance", "start", "echo", "--id", "i", "--taskhub", "bank", "--at", "1h")
    assert desk.ok("instance", "list").rows == []
    assert [row[0] for row in desk.ok("instance", "list", "--taskhub", "bank").rows] == ["i"]
    desk.ok("instance", "terminate", "i", "--yes", "--taskhub", "bank")
    assert desk.ok("hub", "purge", "bank", "--yes").out == "1 instance purged\n"
    asked = desk.run("hub", "delete", "bank")
    assert asked.code == 2
    assert "this would delete task hub 'bank' with everything in it; add --yes" in asked.error
    desk.ok("hub", "delete", "bank", "--yes")
    assert desk.run("hub", "delete", "bank", "--yes").code == 3
    assert desk.ok("hub", "list").out == "shop\n"


def test_a_hub_is_not_deleted_where_that_is_off(desk):
    refused = desk.run("hub", "delete", "shop", "--yes")
    assert refused.code == 4 and "hubs.deletion-enabled" in refused.error


def test_the_hub_of_the_environment(desk):
    desk.ok("hub", "create", "bank")
    done = desk.run("instance", "start", "echo", "--id", "i", "--at", "1h", DTPG_TASKHUB="bank")
    assert done.code == 0
    assert desk.run("instance", "get", "i").code == 3
    assert desk.run("instance", "get", "i", DTPG_TASKHUB="bank").code == 0


def test_entities(desk):
    desk.start_worker()
    desk.ok("entity", "signal", "@Counter@a", "add", "--input", "3")
    desk.ok("entity", "signal", "@counter@a", "add", "--input", "4")
    eventually(lambda: desk.run("entity", "get", "@counter@a", "-o", "json").out.find(
        '"serializedState":"7"') > 0, "both have run")
    shown = desk.ok("entity", "get", "@counter@a").out
    assert "id        @counter@a\n" in shown and "state     7\n" in shown
    desk.ok("entity", "signal", "@counter@b", "add", "--input", "1", "--at", "1h")
    assert [row[0] for row in desk.ok("entity", "list").rows] == ["@counter@a"]
    assert [row[-1] for row in desk.ok("entity", "list", "--states").rows] == ["7"]
    rows = desk.ok("entity", "list", "--all", "--prefix", "@counter@").rows
    assert [row[0] for row in rows] == ["@counter@a", "@counter@b"]
    assert len(desk.ok("entity", "list", "--all", "--limit", "1", "-o", "json").json) == 1
    why = desk.ok("instance", "why", "@Counter@b").out
    assert why.startswith("The next delayed operation is due at ")
    assert desk.run("entity", "get", "@counter@nobody").code == 3
    assert desk.run("entity", "get", "counter").code == 2
    assert desk.run("entity", "clean").code == 2
    assert desk.ok("entity", "clean", "--yes").out == "0 empty entities removed, 0 locks released\n"
    assert desk.ok("entity", "clean", "--yes", "-o", "json").json == {
        "emptyEntitiesRemoved": "0", "orphanedLocksReleased": "0"}


def test_workers(desk):
    assert desk.ok("worker", "list").rows == []
    desk.start_worker()
    eventually(lambda: len(desk.ok("worker", "list").rows) == 3, "the worker is reported")
    rows = desk.ok("worker", "list").rows
    assert [row[1:4] + row[-1:] for row in rows] == [
        [socket.gethostname(), "alive", work, "all"]
        for work in ("activities", "entities", "turns")]
    workers = desk.ok("worker", "list", "-o", "json").json
    # 64-bit numbers are text, so that they stay exact.
    assert all(isinstance(worker["workerId"], str) for worker in workers)
    assert all(worker["takesAllNames"] for worker in workers)


def complete(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = subprocess.run([SIDECAR, "completion", "bash"], capture_output=True, text=True,
                            check=True).stdout
    line = " ".join(f"'{word}'" for word in ("durabletask-sidecar", *words))
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\nCOMP_WORDS=({line}) COMP_CWORD={len(words)}\n"
         "_durabletask_sidecar; printf '%s\\n' \"${COMPREPLY[@]}\""],
        capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_completes_verbs_flags_and_values():
    assert complete("inst") == ["instance"]
    assert {"serve", "instance", "hub", "entity", "worker", "completion"} <= set(complete(""))
    assert complete("instance", "w") == ["why", "watch"]
    assert complete("hub", "") == ["purge", "list", "create", "delete"]
    assert complete("instance", "list", "--cre") == ["--created-after", "--created-before"]
    assert complete("instance", "list", "--status", "Co") == ["Completed"]
    assert complete("entity", "list", "--output", "") == ["table", "json"]
    assert complete("schema", "up", "") == []
    assert "--created-after" not in complete("instance", "get", "--")


def test_every_verb_has_a_help(desk):
    for group in ("instance", "hub", "entity", "worker"):
        for line in desk.ok(group, "--help").out.splitlines():
            words = line.split()
            text = desk.ok(words[0], words[1], "--help").out
            assert text.startswith(f"durabletask-sidecar {words[0]} {words[1]}")
            assert "--address HOST:PORT" in text
    assert desk.run("completion", "fish").code == 2


def fresh_token() -> tuple[str, str]:
    """A token, and its hash for the access file, as the program makes them."""
    lines = subprocess.run([SIDECAR, "token"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    return lines[1], lines[3]


def make_certificates(directory) -> None:
    """An authority, and a certificate of it for 127.0.0.1."""
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem",
            "-subj", "/CN=daemon")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-out", "certificate.pem", "-extfile", "names")


def test_tokens_and_tls(postgres, scratch):
    """The daemon is started by hand: its health is asked over TLS."""
    make_certificates(scratch)
    token, digest = fresh_token()
    (scratch / "token").write_text(token + "\n")
    (scratch / "access.toml").write_text(
        f'[[principals]]\nname = "ann"\n{digest}\nrules = [{{hub = "shop", role = "reader"}}]\n')
    url = postgres.url("tokens")
    postgres.create_database("tokens")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    daemon = subprocess.Popen(
        [SIDECAR, "serve", "--postgres", url, "--schema-up", "--listen", address, "--hubs",
         "shop,bank", "--access-file", scratch / "access.toml", "--listen-tls-certificate-file",
         scratch / "certificate.pem", "--listen-tls-key-file", scratch / "key.pem"],
        stdout=subprocess.DEVNULL, stderr=(scratch / "log").open("w"))

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run([SIDECAR, *arguments, "--address", address], capture_output=True,
                              text=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
                              env=environment)
    try:
        def serves() -> bool:
            assert daemon.poll() is None, (scratch / "log").read_text()
            return run("healthcheck", "--tls").returncode == 0
        eventually(serves, "the daemon serves")
        trusted = ("--tls-ca-file", str(scratch / "ca.pem"))
        shop = (*trusted, "--taskhub", "shop")
        listed = run("instance", "list", *shop, "--token-file", str(scratch / "token"))
        assert (listed.returncode, listed.stderr) == (0, "")
        assert run("hub", "list", *shop, DTPG_TOKEN=token).stdout == "shop\n"
        anonymous = run("instance", "list", *shop)
        assert anonymous.returncode == 4
        assert "DTPG_TOKEN or --token-file gives the token" in anonymous.stderr
        for arguments in (("instance", "list", *trusted, "--taskhub", "bank"),
                          ("instance", "why", "i", *trusted, "--taskhub", "bank"),
                          ("worker", "list", *trusted, "--taskhub", "bank"),
                          ("instance", "start", "echo", *shop)):
            refused = run(*arguments, DTPG_TOKEN=token)
            assert refused.returncode == 4 and "'ann' may not call" in refused.stderr
        # A server that nobody vouches for gets no token, and plain text no answer.
        assert run("instance", "list", "--tls", DTPG_TOKEN=token).returncode == 6
        assert run("instance", "list", DTPG_TOKEN=token).returncode == 6
        assert hashlib.sha256(token.encode()).hexdigest() in digest
    finally:
        daemon.terminate()
        assert daemon.wait(SECONDS) == 0
