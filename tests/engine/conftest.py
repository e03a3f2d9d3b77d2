import logging

import pytest


@pytest.fixture
def said():
    """Warnings of the package, whatever other tests did to its loggers."""
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("d2_psformer")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
