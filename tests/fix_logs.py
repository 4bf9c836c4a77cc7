"""The process's log, put back after a test that set it up: ``restored_logs``."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def restored_logs() -> Iterator[None]:
    """Undo whatever the test does to structlog, logging and warnings."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level
    logging.getLogger("alembic.runtime.migration").setLevel(logging.NOTSET)
