"""A clean environment for tests that read settings: ``environment``."""

import os

import pytest

OURS = ("MIGRATOR_", "POSTGRES_", "PG")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give an environment without any variable that settings or drivers read; it is put back afterwards."""
    for name in list(os.environ):
        if name.upper().startswith(OURS):
            monkeypatch.delenv(name)
    return monkeypatch
