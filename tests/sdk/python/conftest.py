import pytest

from hub import new_hub


@pytest.fixture
def hub():
    """A fresh task hub, whose workers are stopped at the end of the test."""
    fresh = new_hub()
    yield fresh
    fresh.close()
