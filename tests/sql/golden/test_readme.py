"""The examples of sql/README.md: each block of SQL after "<!-- example: LOGIN -->" is run as that
login, in the order of the document, and prints what the block of text after it shows, if there is
one (but for empty lines)."""

import re

from conftest import SQL, psql

EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```sql\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.S)
FUNCTIONS = """BindTaskHub CreateInstance CurrentTaskHub GetEntity GetInstanceHistory
    GetInstanceWaits GetScaleMetric GetScaleRecommendation GetTaskHubBindings PurgeInstanceState
    PurgeInstanceStateByID PurgeInstanceStateByTime QuerySingleOrchestration RaiseEvent
    RemoveRetention ResumeInstance SetGlobalSetting SetRetention SignalEntity SuspendInstance
    TerminateInstance UnbindTaskHub vEntities vHistory vInstances vRetention vWaitingWork
    _GetVersions""".split()


def examples():
    return EXAMPLE.findall((SQL / "README.md").read_text())


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_examples_print_what_they_show(postgres):
    postgres.create_database("readme")
    psql(postgres, "readme", "-f", str(SQL / "install.sql"))
    for login, sql, shown in examples():
        printed = psql(postgres, "readme", "-P", "footer=off", role=login, input=sql).stdout
        if shown:
            assert lines(printed) == lines(shown), sql


def test_every_function_has_an_example(postgres):
    """And none is forgotten: what the SQL API has is what the roles may call."""
    text = "\n".join(sql for _, sql, _ in examples())
    missing = [name for name in FUNCTIONS if not re.search(rf"\bdt\.{name}\b", text)]
    assert missing == []
    granted = postgres.query("golden", """
        select p.proname as name from pg_proc p
        where p.pronamespace = 'dt'::regnamespace
          and (p.proname !~ '^_' or p.proname = '_getversions')
        union all select 'vinstances' union all select 'vhistory' union all select 'ventities'
        union all select 'vretention' union all select 'vwaitingwork' order by 1""")
    assert [row["name"] for row in granted] == sorted(name.lower() for name in FUNCTIONS)
