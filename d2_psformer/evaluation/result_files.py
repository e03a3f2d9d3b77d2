"""Result files: strict JSON, whole or not there."""

import math

from ..data.files import write_json


def write_results(path: str, results: dict) -> None:
    """Write figures as JSON in one step; NaN, which JSON lacks, becomes null."""
    write_json(path, _without_nan(results))


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
