"""Settings for all tests."""

import logging

import pytest
import structlog
from hypothesis import settings

# No test times its examples: a busy machine would fail a property that holds. Speed is measured in bench/.
settings.register_profile("tocsin", deadline=None)
settings.load_profile("tocsin")

_LEVEL = logging.getLogger().level
_STRUCTLOG = structlog.get_config()


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> None:
    """The command line, run inside a test or fixture, sets the process's logging: the next test starts with what was there at first."""
    logging.getLogger().setLevel(_LEVEL)
    structlog.configure(**_STRUCTLOG)
