"""Results as text, and their comparison with expected ones."""

import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


def print_csv_format(results: Mapping[str, Any]) -> None:
    """Log the main metrics of each task as two comma-separated lines, ready for a spreadsheet.

    Metrics of single classes, such as "AP-person", are left out.
    """
    for task, metrics in results.items():
        if not isinstance(metrics, Mapping):
            logger.info("copypaste: %s=%s", task, metrics)
            continue
        main = {name: value for name, value in metrics.items() if "-" not in name}
        logger.info("copypaste: Task: %s", task)
        logger.info("copypaste: %s", ",".join(main))
        logger.info("copypaste: %s", ",".join(f"{value:.4f}" for value in main.values()))


def verify_results(cfg, results: Mapping[str, Any]) -> bool:
    """Compare with TEST.EXPECTED_RESULTS, a list of [task, metric, value, tolerance].

    Returns True if all agree; else names the differences and ends the process with status 1.
    """
    wrong = []
    for task, metric, expected, tolerance in cfg.TEST.EXPECTED_RESULTS:
        actual = results[task].get(metric, math.nan)
        if not abs(actual - expected) <= tolerance:  # NaN is wrong too.
            wrong.append(f"{task}/{metric} is {actual}, expected {expected} +- {tolerance}")
    if wrong:
        logger.error("Results are not as expected: %s.", "; ".join(wrong))
        sys.exit(1)
    return True
