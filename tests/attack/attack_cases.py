"""How many random cases an attack has: a sample in `make test`, thousands in `make attack`."""

import os

from hypothesis import HealthCheck, Phase, settings

_ALL = int(os.environ.get("PSFORMER_ATTACK", "0"))


def number_of_cases(sample: int) -> int:
    """``sample``, or what the variable PSFORMER_ATTACK says."""
    return _ALL or sample


def cases(sample: int, shrinks: bool = True) -> settings:
    """Settings of hypothesis for a test in this folder; the sample is always the same one.

    Args:
        shrinks: look for the smallest case that fails, for up to 5 minutes. Where a case takes
            a second, that finds little.
    """
    return settings(
        phases=[p for p in Phase if shrinks or p not in (Phase.shrink, Phase.explain)],
        max_examples=number_of_cases(sample),
        derandomize=not _ALL,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
