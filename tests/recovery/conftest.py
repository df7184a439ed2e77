import pytest

from processes import private_postgres


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL for all tests; each makes a database of its own."""
    with private_postgres("dt-recovery-") as server:
        yield server
