"""Commands set up logs, which must not outlive a test."""

import pytest


@pytest.fixture(autouse=True)
def _clean_loggers(clean_loggers):
    pass
