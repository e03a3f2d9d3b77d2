"""Benchmarks of a model of a second."""

import argparse

TINY = {
    "MODEL.BACKBONE.TIMM_NAME": "resnet10t",
    "MODEL.BACKBONE.FREEZE_AT": "0",
    "MODEL.PSFORMER.HIDDEN_DIM": "32",
    "MODEL.PSFORMER.NUM_HEADS": "4",
    "MODEL.PSFORMER.DIM_FEEDFORWARD": "32",
    "MODEL.PSFORMER.DROPOUT": "0.0",
    "MODEL.PSFORMER.ENCODER_LAYERS": "1",
    "MODEL.PSFORMER.LOCATION_LAYERS": "2",
    "MODEL.PSFORMER.NUM_QUERIES": "20",
    "MODEL.PSFORMER.THING_MASK_LAYERS": "1",
    "MODEL.PSFORMER.STUFF_MASK_LAYERS": "2",
}


def tiny_options(benchmark, *arguments: str) -> argparse.Namespace:
    """Options of a module of tools/benchmarks, for one round of the tiny model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1)
    benchmark.add_options(parser)
    opts = [x for pair in TINY.items() for x in pair]
    return parser.parse_args([*arguments, "--threads", "1", "--opts", *opts])
