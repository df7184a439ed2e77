"""sql/NAME.sql prints what expected/NAME.out says; psql echoes the statements, so that it can be
read."""

import os
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in (HERE / "sql").glob("*.sql"))


@pytest.mark.parametrize("name", NAMES)
def test_golden(postgres, database, name, tmp_path):
    if os.environ.get("DTPG_ACCEPT"):
        (HERE / "expected" / f"{name}.out").touch()
    done = subprocess.run(
        [postgres.regress, "--use-existing", "--bindir", postgres.bin, "--host",
         postgres.directory, "--user", "postgres", "--dbname", database, "--inputdir", HERE,
         "--outputdir", tmp_path, name],
        capture_output=True, text=True, cwd=HERE)
    if os.environ.get("DTPG_ACCEPT"):
        shutil.copy(tmp_path / "results" / f"{name}.out", HERE / "expected")
        return
    differences = tmp_path / "regression.diffs"
    shown = differences.read_text() if differences.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + shown


def test_every_expectation_has_its_test():
    assert NAMES == sorted(path.stem for path in (HERE / "expected").glob("*.out"))
