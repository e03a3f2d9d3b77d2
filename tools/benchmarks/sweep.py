"""What inference costs against the work: size of the image, thing queries, images in a batch."""

import argparse

from .contestants import OURS, STAGES, in_own_process
from .stages import TOTAL, stages_in_turns

SWEEPS = {
    "size": [(480, 720), (640, 960), (800, 1200), (1120, 1680), (1600, 2400)],
    "queries": [100, 300, 600, 1200],
    "batch": [1, 2, 4, 8],
}
SIZE = (480, 640)  # where another measure is varied


def measure_sweep(sweep: str, options: argparse.Namespace, threads: int) -> list[dict]:
    """Rows of our time, by value; in the first of the types asked for."""
    dtype = options.dtype[0]
    name = OURS if dtype == "float32" else f"{OURS}, {dtype}"
    measurements, pixels = {}, {}
    for value in SWEEPS[sweep]:
        size = value if sweep == "size" else SIZE
        images = value if sweep == "batch" else 1
        opts = ["MODEL.PSFORMER.NUM_QUERIES", str(value)] if sweep == "queries" else []
        changed = argparse.Namespace(**{**vars(options), "opts": [*options.opts, *opts]})
        running = in_own_process(name, changed, threads, (size, size), images)
        measurements[value] = running.stages
        pixels[value] = images * size[0] * size[1]
    return [
        {
            sweep: "x".join(map(str, value)) if sweep == "size" else value,
            "contestant": name,
            **{f"{stage}, ms": 1e3 * found[stage] for stage in STAGES},
            "ms per megapixel": 1e9 * found[TOTAL] / pixels[value],
        }
        for value, found in stages_in_turns(measurements, options.rounds).items()
    ]
