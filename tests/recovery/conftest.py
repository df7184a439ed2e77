import pathlib
import shutil
import tempfile

import pytest

from processes import Postgres


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL for all tests; each makes a database of its own."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="dt-recovery-"))
    directory.chmod(0o755)
    server = None
    try:
        server = Postgres(directory)
        yield server
    finally:
        if server:
            server.stop()
        shutil.rmtree(directory)
