"""How many random cases an attack has: a sample in `make test`, thousands in `make attack`."""

import os

from hypothesis import HealthCheck, settings

_ALL = int(os.environ.get("PSFORMER_ATTACK", "0"))


def number_of_cases(sample: int) -> int:
    """``sample``, or what the variable PSFORMER_ATTACK says."""
    return _ALL or sample


def cases(sample: int) -> settings:
    """Settings of hypothesis for a test in this folder; the sample is always the same one."""
    return settings(
        max_examples=number_of_cases(sample),
        derandomize=not _ALL,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
