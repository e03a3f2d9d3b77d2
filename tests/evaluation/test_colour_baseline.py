"""The colour baseline, and that generated scenes are no gift to it."""

import numpy as np
import pytest

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic, write_panoptic_png
from d2_psformer.data.scenes import SCENES_CATEGORIES, ScenesSpec, generate_scene, write_scenes
from d2_psformer.evaluation.colour_baseline import ColourBaseline, evaluate_colour_baseline
from d2_psformer.evaluation.pq_counter import PanopticQuality
from d2_psformer.utils.files import read_json, write_json

THINGS = [c["id"] for c in SCENES_CATEGORIES if c["isthing"]]
TOYS = [
    {"id": 1, "name": "ball", "isthing": 1, "color": [255, 0, 0]},
    {"id": 5, "name": "floor", "isthing": 0, "color": [0, 0, 255]},
]


def toy():
    """Two red balls that touch at no point, on a blue floor in two parts."""
    image = np.full((8, 9, 3), (10, 20, 200), np.uint8)
    ids = np.full((8, 9), 70000, np.int32)
    for segment_id, columns in ((3, slice(0, 4)), (4, slice(5, 8))):
        image[2:5, columns], ids[2:5, columns] = (250, 30, 0), segment_id
    segments = [(70000, 5), (3, 1), (4, 1)]
    return image, ids, [{"id": i, "category_id": c, "iscrowd": 0} for i, c in segments]


def test_things_are_split_and_stuff_is_not():
    baseline = ColourBaseline(thing_ids=[1])
    baseline.add(*toy())
    ids, segments_info = baseline.predict(toy()[0])
    assert ids.dtype == np.int32 and ids.min() == 1
    assert [(s["category_id"], s["isthing"], s["area"]) for s in segments_info] == [
        (1, True, 12), (1, True, 9), (5, False, 51),
    ]  # fmt: skip
    for segment in segments_info:
        assert segment["area"] == (ids == segment["id"]).sum()


def test_it_is_perfect_where_colour_tells_everything():
    baseline = ColourBaseline(thing_ids=[1])
    baseline.add(*toy())
    quality = PanopticQuality(TOYS)
    quality.add(0, *toy()[1:], *baseline.predict(toy()[0]))
    assert quality.results()["All"]["pq"] == 1


def test_means_are_over_all_pixels_of_all_images():
    rng = np.random.default_rng(0)
    baseline = ColourBaseline(thing_ids=[])
    images = rng.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    ids = np.ones((4, 6), np.int32)
    for image in images:
        baseline.add(image, ids, [{"id": 1, "category_id": 9}])
    categories, colours = baseline.mean_colours()
    assert categories == [9]
    np.testing.assert_allclose(colours[0], images.reshape(-1, 3).mean(axis=0))


def test_nearest_means_nearest():
    rng = np.random.default_rng(0)
    baseline = ColourBaseline(thing_ids=[])
    ids = np.arange(1, 6, dtype=np.int32)[:, None].repeat(7, axis=1)
    baseline.add(
        rng.integers(0, 256, (5, 7, 3), dtype=np.uint8),
        ids,
        [{"id": i, "category_id": 10 * i} for i in range(1, 6)],
    )
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    found, segments_info = baseline.predict(image)
    category = {s["id"]: s["category_id"] for s in segments_info}
    categories, colours = baseline.mean_colours()
    nearest = np.linalg.norm(image[:, :, None] - colours, axis=3).argmin(axis=2)
    expected = np.array(categories)[nearest]
    np.testing.assert_array_equal(np.vectorize(category.get)(found), expected)


def test_it_must_have_seen_something():
    with pytest.raises(ValueError, match="has seen no segment"):
        ColourBaseline(thing_ids=[1]).predict(toy()[0])


@pytest.fixture(scope="module")
def trained():
    baseline = ColourBaseline(THINGS)
    for index in range(200):
        baseline.add(*generate_scene(index))
    return baseline


def test_scenes_are_no_gift(trained):
    quality = PanopticQuality(SCENES_CATEGORIES)
    for index in range(10_000, 10_060):
        image, ids, segments_info = generate_scene(index)
        quality.add(index, ids, segments_info, *trained.predict(image))
    results = quality.results()
    assert results["All"]["n"] == len(SCENES_CATEGORIES)
    assert results["All"]["pq"] <= 0.25


def test_scenes_are_no_gift_by_the_reference_either(trained, tmp_path):
    """The same figure from panopticapi, through the files."""
    pq_compute = pytest.importorskip("panopticapi.evaluation").pq_compute
    write_scenes(tmp_path / "scenes", ScenesSpec(train=0, val=20))
    truth = tmp_path / "scenes" / "panoptic_val.json"
    quality, annotations = PanopticQuality(SCENES_CATEGORIES), []
    for annotation in read_json(truth)["annotations"]:
        image, ids, segments_info = generate_scene(annotation["image_id"])
        predicted, predicted_info = trained.predict(image)
        quality.add(annotation["image_id"], ids, segments_info, predicted, predicted_info)
        write_panoptic_png(tmp_path / "predicted" / annotation["file_name"], predicted)
        annotations.append({**annotation, "segments_info": predicted_info})
    write_json(tmp_path / "predicted.json", {"annotations": annotations})
    reference = pq_compute(str(truth), str(tmp_path / "predicted.json"))
    for split in ("All", "Things", "Stuff"):
        assert reference[split]["pq"] == pytest.approx(quality.results()[split]["pq"])
    assert reference["All"]["pq"] <= 0.25


def test_registered_data_sets(tmp_path):
    write_scenes(tmp_path / "scenes", ScenesSpec(train=30, val=10))
    names = []
    for split in ("train", "val"):
        names.append(f"colour_baseline_{split}")
        root = tmp_path / "scenes"
        files = root / split, root / f"panoptic_{split}.json", root / f"panoptic_{split}"
        register_panoptic(names[-1], *files)
    try:
        results = evaluate_colour_baseline(*names, max_train_images=20)
    finally:
        for name in names:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    assert 0 <= results["panoptic_seg"]["PQ"] <= 25
