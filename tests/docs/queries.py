"""Runs the SQL that a page of documentation shows in code spans, so that it names what there is.

queries.py PAGE URL: each `select ...` and `call ...` of the page is run by psql at URL in a
transaction that is rolled back. An id that the page leaves open ('...') is no instance, and "there
is no such instance" is then the right answer. "..." alone is no query. Ends with a line "N
queries".
"""

import glob
import pathlib
import re
import subprocess
import sys

NO_SUCH_INSTANCE = "DT001"
NO_TRANSACTION = "call "  # a procedure that commits


def queries(page):
    """The code spans that are queries; a span may go over the end of a line."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for span in re.findall(r"`([^`]+)`", text):
        query = " ".join(span.split())
        if re.match(r"(select|call) ", query) and not re.search(r"\.\.\.(?!')", query):
            yield query


def main():
    page, url = sys.argv[1:]
    psql = sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))[-1]
    count = failures = 0
    for query in queries(pathlib.Path(page)):
        count += 1
        script = f"{query};" if query.startswith(NO_TRANSACTION) else f"begin; {query}; rollback;"
        done = subprocess.run([psql, "-Xq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose",
                               url],
                              input=script, capture_output=True, text=True)
        if done.returncode and NO_SUCH_INSTANCE not in done.stderr:
            failures += 1
            print(f"FAILED {page}: {query}\n{done.stderr}")
    print(f"{count} queries")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
