"""The run that tests of reports share."""

from pathlib import Path

import pytest
from small_report import forget, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a training on a panoptic data set."""
    yield write_run(tmp_path_factory.mktemp("report"))
    forget()
