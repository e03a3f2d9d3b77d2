"""Where the official implementation spends its time, to judge the plain formulation by.

Seconds of one R50 inference of the unchanged official code (easymd on mmdet 2.12, torch 2.15) with
two threads of an AMD EPYC, float32, batch 1.
"""

BACKBONE = "backbone"
ENCODER = "input projection, encoder"
LOCATION = "location decoder"
THINGS = "thing masks"
STUFF = "stuff masks"
REST = "merging and the rest"

_SECONDS = {
    ((480, 640), (480, 640)): {
        BACKBONE: 0.1933,
        ENCODER: 0.0115 + 1.4427,
        LOCATION: 0.0982,
        THINGS: 0.292,
        STUFF: 0.168,
        "total": 2.7226,
    },
    ((800, 1200), (427, 640)): {
        BACKBONE: 0.9564,
        ENCODER: 0.0324 + 4.8907,
        LOCATION: 0.1768,
        THINGS: 1.3753,
        STUFF: 1.0666,
        "total": 9.0903,
    },
    ((800, 1200), (800, 1200)): {
        BACKBONE: 0.8642,
        ENCODER: 0.032 + 4.8597,
        LOCATION: 0.1702,
        THINGS: 1.0388,
        STUFF: 0.7472,
        "total": 10.1492,
    },
}


def official_shares(case: tuple) -> dict[str, float]:
    """Share of every stage for ((input height, width), (output height, width)); {} if unknown."""
    if case not in _SECONDS:
        return {}
    seconds = dict(_SECONDS[case])
    total = seconds.pop("total")
    shares = {stage: value / total for stage, value in seconds.items()}
    return {**shares, REST: 1 - sum(shares.values()), "total": 1.0}
