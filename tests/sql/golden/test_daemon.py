"""What SQL users start and signal is run by a real daemon, whose login has the role dt_daemon and
no more, and by a worker of the real Python SDK."""

import json
import logging
import subprocess
import threading

import pytest
from durabletask import task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId
from durabletask.worker import TaskHubGrpcWorker

from conftest import psql
from processes import SECONDS, House, eventually


LIMA = '["Lima"]'


def hello(_, name):
    return f"Hello, {name}!"


def greet(ctx, names):
    """Greets, tells so, waits for "go on", and returns both."""
    greetings = yield task.when_all([ctx.call_activity(hello, input=name) for name in names])
    ctx.set_custom_status(greetings)
    answer = yield ctx.wait_for_external_event("go on")
    return [greetings, answer]


def parent(ctx, _):
    return (yield ctx.call_sub_orchestrator(greet, input=["child"], instance_id="child"))


def stock(ctx, amount):
    """An entity: a number to which "add" adds."""
    state = ctx.get_state(int, 0)
    if ctx.operation == "add":
        ctx.set_state(state + amount)
    return state


class Shop(House):
    """A daemon of the hub "shop" and a worker on it, and the SQL of the login "app", which is bound
    to it."""

    def __init__(self, postgres, database: str, *options: str):
        super().__init__(postgres, database, postgres.url(database, "service"), "shop", "app")
        self.daemon = self.add_daemon(*options)
        logger = logging.getLogger("durabletask")
        self.worker = TaskHubGrpcWorker(host_address=self.daemon.address, logger=logger)
        for orchestrator in (greet, parent):
            self.worker.add_orchestrator(orchestrator)
        self.worker.add_activity(hello)
        self.worker.add_entity(stock)
        self.worker.start()
        self.client = TaskHubGrpcClient(host_address=self.daemon.address, logger=logger)

    def sql(self, sql: str, role: str = "app") -> None:
        psql(self.postgres, self.database, "-c", sql, role=role)

    def until(self, instance_id: str, condition: str) -> None:
        """Waits until vInstances says so of the instance."""
        eventually(lambda: self.query("select 1 from dt.vInstances"
                                      f" where InstanceID = '{instance_id}'"
                                      f" and {condition}"), f"{instance_id}: {condition}")

    def open_session(self) -> "Session":
        return Session(self.postgres, self.database)

    def close(self) -> None:
        self.client.close()
        self.worker.stop()
        super().close()


class Session:
    """A psql of the login "app" that stays connected."""

    def __init__(self, postgres, database: str):
        self._psql = subprocess.Popen(
            [postgres.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1",
             postgres.url(database, "app")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, sql: str) -> None:
        """Returns when it is done."""
        self._psql.stdin.write(f"{sql};\n\\echo done\n")
        for line in self._psql.stdout:
            if line == "done\n":
                return
        raise AssertionError(f"psql ended at: {sql}")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_) -> None:
        self._psql.stdin.close()
        self._psql.wait(SECONDS)


@pytest.fixture
def house(postgres, database, request):
    """Options of the daemon come from the test's mark "options", settings of the database from
    "settings"."""
    options = request.node.get_closest_marker("options")
    settings = request.node.get_closest_marker("settings")
    for name, value in (settings.kwargs.items() if settings else ()):
        psql(postgres, database, "-c", f"alter database {database} set {name} = '{value}'")
    house = Shop(postgres, database, *(options.args if options else ()))
    yield house
    house.close()


def test_an_orchestration_of_sql_runs_like_one_of_the_sdk(house):
    names, tags = ["Lima", "Oslo"], {"customer": "ann"}
    house.client.schedule_new_orchestration(greet, input=names, instance_id="sdk", version="1.2",
                                            tags=tags)
    house.sql("select dt.CreateInstance('greet', '1.2', 'sql', "
              f"InputText => '{json.dumps(names)}', Tags => '{json.dumps(tags)}')")
    for instance_id in ("sdk", "sql"):
        house.until(instance_id, "CustomStatusText like '%Oslo%'")
    house.client.raise_orchestration_event("sdk", "go on", data={"n": 1})
    house.sql("""select dt.RaiseEvent('go on', 'sql', '{"n": 1}')""")
    states = [house.client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
              for instance_id in ("sdk", "sql")]
    for state in states:
        assert state.runtime_status == OrchestrationStatus.COMPLETED, state.failure_details
        assert json.loads(state.serialized_output) == [["Hello, Lima!", "Hello, Oslo!"], {"n": 1}]
    seen = ("name", "version", "inputtext", "outputtext", "customstatustext", "runtimestatus",
            "tags",
            "parentinstanceid", "scheduledstart", "failuredetails", "tracecontext")
    by_sdk, by_sql = house.query("select * from dt.vInstances order by InstanceID")
    assert {name: by_sdk[name] for name in seen} == {name: by_sql[name] for name in seen}

    def history(instance_id):
        return house.query("select EventType, TaskID, Name, RuntimeStatus, Payload "
                           "from dt.vHistory "
                          f"where InstanceID = '{instance_id}' "
                          # Which of the two activities ends first is not said.
                          "order by EventType, TaskID")
    assert len(history("sql")) > 8
    assert [row for row in history("sql") if not row["eventtype"].startswith("Orchestrator")] == [
        row for row in history("sdk") if not row["eventtype"].startswith("Orchestrator")]


@pytest.mark.settings(
    default_transaction_isolation="serializable", array_nulls="off",
    standard_conforming_strings="off", backslash_quote="off", transform_null_equals="on",
    quote_all_identifiers="on", exit_on_error="on", TimeZone="Asia/Kathmandu", DateStyle="German",
    IntervalStyle="sql_standard", bytea_output="escape",
    extra_float_digits="-15", client_encoding="LATIN1", search_path="", row_security="off",
    idle_session_timeout="5s")
def test_an_orchestration_of_sql_runs_the_same_whatever_the_database_sets(house):
    test_an_orchestration_of_sql_runs_like_one_of_the_sdk(house)


def test_a_daemon_sees_what_is_committed_and_nothing_else(house):
    house.sql("begin; "
              f"select dt.CreateInstance('greet', InstanceID => 'never', InputText => '{LIMA}'); "
              "rollback")
    house.sql("begin; "
              f"select dt.CreateInstance('greet', InstanceID => 'once', InputText => '{LIMA}'); "
              "select dt.RaiseEvent('go on', 'once', '1'); "
              "select dt.RaiseEvent('go on', 'once', '2'); "
              "commit")
    house.until("once", '''RuntimeStatus = 'Completed' and OutputText = '[["Hello, Lima!"], 1]' ''')
    house.sql(f"select dt.CreateInstance('greet', InstanceID => 'twice', InputText => '{LIMA}')")
    house.until("twice", "CustomStatusText like '%Lima%'")
    house.sql("begin; select dt.RaiseEvent('go on', 'twice', '1'); rollback; "
              "select dt.RaiseEvent('go on', 'twice', '2')")
    house.until("twice", '''OutputText = '[["Hello, Lima!"], 2]' ''')
    assert [row["instanceid"] for row in house.query(
        "select InstanceID from dt.vInstances order by 1")] == ["once", "twice"]


def test_an_entity_runs_what_sql_signals(house):
    house.sql("begin; select dt.SignalEntity('@stock@Lima', 'add', '100'); rollback; begin; "
              "select dt.SignalEntity('@Stock@Lima', 'add', '1'), "
              "dt.SignalEntity('@stock@Lima', 'add', '2', "
              "RequestID => '11111111-1111-1111-1111-111111111111'); commit")
    house.client.signal_entity(EntityInstanceId("stock", "Lima"), "add", 4)
    house.sql("select dt.SignalEntity('@stock@Lima', 'add', '8', now() + interval '1 second')")

    def entity():
        return house.query("select Name, Key, State, LockedBy, Backlog, "
                           "LastModified > now() - interval '1 hour' as fresh "
                           "from dt.GetEntity('@STOCK@Lima')")
    eventually(lambda: [row for row in entity() if row["state"] == "15"], "all have run")
    assert entity() == [{"name": "stock", "key": "Lima", "state": "15", "lockedby": None,
                         "backlog": 0, "fresh": True}]
    assert house.client.get_entity(EntityInstanceId("stock", "Lima")).get_state(int) == 15
    assert house.query("select InstanceID, HasState, NextDue from dt.vEntities") == [
        {"instanceid": "@stock@Lima", "hasstate": True, "nextdue": None}]


def test_sql_suspends_resumes_and_terminates_what_runs(house):
    house.sql("select dt.CreateInstance('parent', InstanceID => 'parent')")
    house.until("child", "CustomStatusText like '%child%'")
    house.sql("select dt.SuspendInstance('child', 'lunch')")
    house.until("child", "RuntimeStatus = 'Suspended'")
    house.sql("select dt.ResumeInstance('child')")
    house.until("child", "RuntimeStatus = 'Running'")
    house.sql("select dt.TerminateInstance('parent', '\"over\"', Recursive => true)")
    for instance_id in ("parent", "child"):
        house.until(instance_id, """RuntimeStatus = 'Terminated' and OutputText = '"over"'""")
    house.sql("select dt.PurgeInstanceStateByID('{parent}', true)", role="manager")
    assert house.query("select 1 from dt.vInstances") == []


def test_a_transaction_that_is_not_ended_holds_up_nobody_else(house):
    house.sql(f"select dt.CreateInstance('greet', InstanceID => 'kept', InputText => '{LIMA}')")
    house.until("kept", "CustomStatusText like '%Lima%'")
    with house.open_session() as session:
        session.run("begin")
        session.run("select dt.RaiseEvent('go on', 'kept', '1')")
        # This one has to wait for the lock, and all that comes after it goes the same way.
        late = threading.Thread(target=house.client.raise_orchestration_event,
                                args=("kept", "late"), daemon=True)
        late.start()
        for number in range(20):
            house.client.schedule_new_orchestration(greet, input=["Oslo"], instance_id=f"o{number}")
            house.client.raise_orchestration_event(f"o{number}", "go on", data=number)
        for number in range(20):
            house.until(f"o{number}", "RuntimeStatus = 'Completed'")
        assert late.is_alive()
        house.until("kept", "RuntimeStatus = 'Running'")
        session.run("commit")
    house.until("kept", "RuntimeStatus = 'Completed'")
    late.join(SECONDS)
    assert not late.is_alive()


@pytest.mark.options("--poll-ms-min", "600000", "--poll-ms-max", "600000")
def test_with_notify_on_commit_nobody_waits_for_a_poll(house):
    house.sql("select dt.SetGlobalSetting('NotifyOnCommit', '1')", role="chief")
    # The first look comes with the worker; when this has run, there is no other for ten minutes.
    house.client.schedule_new_orchestration(greet, input=["Lima"], instance_id="first")
    house.until("first", "CustomStatusText like '%Lima%'")
    house.sql(f"select dt.CreateInstance('greet', InstanceID => 'sql', InputText => '{LIMA}')")
    house.until("sql", "CustomStatusText like '%Lima%'")
    house.sql("select dt.RaiseEvent('go on', 'sql', '1')")
    house.until("sql", "RuntimeStatus = 'Completed'")
