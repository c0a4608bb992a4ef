"""Settings for all tests."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# No test times its examples: a busy machine would fail a property that holds. Speed is measured in bench/.
# The same examples every time, so that a change fails by what it changes; `make explore` tries others, and what those find becomes a test.
settings.register_profile("tocsin", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("TOCSIN_EXAMPLES", "tocsin"))

ALONE = ("e2e", "portal", "workspace")
"""Folders of which every test wants no crowd beside it."""

BROWSERS = ("portal",)
"""Folders of which every test drives a browser."""

_LEVEL = logging.getLogger().level
_STRUCTLOG = structlog.get_config()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real servers, peers and browsers run after the tests that share the machine, in two rows: a browser's, and all others."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in ALONE or item.get_closest_marker("system"):
            item.add_marker(pytest.mark.alone)
        if item.path.relative_to(tests).parts[0] in BROWSERS:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> None:
    """The command line, run inside a test or fixture, sets the process's logging: the next test starts with what was there at first."""
    logging.getLogger().setLevel(_LEVEL)
    structlog.configure(**_STRUCTLOG)


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What commands cache for the user goes to a folder of this run."""
    folder: Path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield
