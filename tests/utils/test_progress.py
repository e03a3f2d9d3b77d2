"""Progress without a terminal goes to the log, on one it is tqdm's bar."""

import logging
import sys
import time

from d2_psformer.utils import progress as module


def test_without_a_terminal_there_are_lines_in_the_log(monkeypatch, caplog):
    monkeypatch.setattr(module, "LOG_INTERVAL", 0.05)
    with caplog.at_level(logging.INFO):
        for _ in module.progress(range(20), desc="segmenting", unit="file"):
            time.sleep(0.01)
    lines = [record.message for record in caplog.records]
    assert lines[0].startswith("segmenting: 0 of 20 in 00:00")
    assert lines[-1].startswith("segmenting: 20 of 20 in 00:00")
    assert 2 < len(lines) < 12  # not one for each


def test_on_a_terminal_there_is_a_bar(monkeypatch, caplog, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with caplog.at_level(logging.INFO):
        assert list(module.progress(range(3), desc="segmenting")) == [0, 1, 2]
    assert "segmenting: 100%" in capsys.readouterr().err
    assert not caplog.records
