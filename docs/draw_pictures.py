#!/usr/bin/env python
"""Draws the pictures of README.md and docs/method.md with the small model of this repository.

docs/demo.jpg: scenes that no training has seen, their ground truth and what the model finds;
docs/attention_maps.jpg and docs/attention_points.jpg: what its decoders attend to for one thing.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from d2_psformer.api.configs import model_config
from d2_psformer.classes import Classes
from d2_psformer.data.scenes import generate_scene
from d2_psformer.engine import Predictor
from d2_psformer.utils.files import write_picture
from d2_psformer.visualization import (
    draw_attention_maps,
    draw_sampling_points,
    draw_side_by_side,
    recording_attention,
)

DOCS = Path(__file__).parent
SCENES = (10_000_000, 10_000_064)  # of the data set scenes_val
ATTENDING = 20_000_004, "star"  # a scene, and the class of one thing in it
SIDE = 300  # of a scene, pixels: at the width of README.md letters stay legible


def draw_demo(predictor: Predictor) -> np.ndarray:
    """A row for each of SCENES."""
    classes = Classes.from_metadata(predictor.metadata)
    index = {number: k for k, number in classes.category_ids.items()}
    rows = []
    for number in SCENES:
        image, ids, annotated = generate_scene(number)
        segments = [{**s, "category_id": index[s["category_id"]]} for s in annotated]
        truth = ids, [{**s, "isthing": s["category_id"] in classes.thing_ids} for s in segments]
        found, segments_info = predictor(image)["panoptic_seg"]
        predicted = found.cpu().numpy(), segments_info
        rows.append(draw_side_by_side(image, predicted, predictor.metadata, truth, long_side=SIDE))
    return np.concatenate(rows)


def draw_attention(predictor: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """Maps of the final attention of the mask decoder, and points of the location decoder."""
    number, name = ATTENDING
    image, _, _ = generate_scene(number)
    with recording_attention(predictor.model) as record:
        ids, segments_info = predictor(image)["panoptic_seg"]
    index = predictor.metadata.thing_classes.index(name)
    segment = next(s for s in segments_info if s["isthing"] and s["category_id"] == index)
    attention = record.of(segment)
    final = replace(attention, maps=attention.maps[-1:])
    ids = ids.cpu().numpy()
    maps = draw_attention_maps(image, ids, final, name)
    return maps, draw_sampling_points(image, ids, attention, name)


def main() -> None:
    predictor = Predictor(model_config("scenes/demo", options={"MODEL.AUTOCAST": "float32"}))
    write_picture(DOCS / "demo.jpg", draw_demo(predictor))
    maps, points = draw_attention(predictor)
    write_picture(DOCS / "attention_maps.jpg", maps)
    write_picture(DOCS / "attention_points.jpg", points)


if __name__ == "__main__":
    main()
