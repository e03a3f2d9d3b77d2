"""What the papers and the official code report of the models that are among our configs.

What the differences come from: docs/models.md.
"""

from dataclasses import dataclass

# Two sets of branches of the official model that no gradient reaches; ours has none.
UNUSED_BRANCHES = 612_688


@dataclass(frozen=True)
class Published:
    """
    Attributes:
        parameters: millions that learn, as printed; of the official code with its unused branches.
        pq: panoptic quality on COCO val, percent.
        gflops: as printed.
        exact: parameters that learn, counted in the official code; of B0 and B2, which it has no
            configs for, by putting them in the place of B5.
    """

    parameters: float
    pq: float
    gflops: float | None = None
    exact: int | None = None


# config, without .yaml, below configs/
PUBLISHED = {
    "coco/psformer_R50_1x": Published(51.0, 48.0, exact=50_996_380),
    "coco/psformer_R50_2x": Published(51.0, 49.6, exact=50_996_380),
    "coco/psformer_R101_2x": Published(69.9, 50.6, exact=69_936_284),
    "coco/psformer_PVTv2-B0_2x": Published(24.2, 49.5, exact=26_250_236),
    "coco/psformer_PVTv2-B2_2x": Published(43.6, 52.5, exact=48_403_036),
    "coco/psformer_PVTv2-B5_2x": Published(105.0, 55.6, exact=104_996_188),
    "coco/psformer_SwinL_2x": Published(221.4, 55.8, exact=221_352_624),
    "coco/psformer_v1_R50": Published(47.0, 50.0, 246),
    "coco/psformer_v1_R101": Published(65.9, 50.4, 322),
    "coco/psformer_v1_PVTv2-B0": Published(22.2, 49.6, 156),
    "coco/psformer_v1_PVTv2-B2-Li": Published(41.6, 52.6, 219),
    "coco/psformer_v1_PVTv2-B5": Published(100.9, 54.1, 391),
}
