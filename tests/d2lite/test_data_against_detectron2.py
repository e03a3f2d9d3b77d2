"""d2lite's data equal those of the real Detectron2, where that is installed."""

import importlib
import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from d2_psformer.d2lite import data as ours
from d2_psformer.d2lite.data import samplers as our_samplers
from d2_psformer.d2lite.data import transforms as our_t
from d2_psformer.d2lite.data.datasets.coco import load_coco_json

pytest.importorskip("detectron2", reason="Detectron2 is not installed")


def real(module):
    return importlib.import_module(f"detectron2.{module}")


AUGMENTATIONS = {
    "shortest edge, range": lambda T: [T.ResizeShortestEdge([30, 90], 100)],
    "shortest edge, choice": lambda T: [T.ResizeShortestEdge([30, 48, 90], 100, "choice")],
    "flips": lambda T: [T.RandomFlip(), T.RandomFlip(horizontal=False, vertical=True)],
    "crop, absolute": lambda T: [T.RandomCrop("absolute", (20, 100))],
    "crop, absolute range": lambda T: [T.RandomCrop("absolute_range", (20, 100))],
    "crop, relative": lambda T: [T.RandomCrop("relative", (0.7, 0.4))],
    "crop, relative range": lambda T: [T.RandomCrop("relative_range", (0.7, 0.4))],
    "scale and crop": lambda T: [T.ResizeScale(0.3, 2.0, 70, 70), T.FixedSizeCrop((70, 70))],
    "crop without padding": lambda T: [T.FixedSizeCrop((50, 99), pad=False)],
    "the paper's": lambda T: [
        T.RandomFlip(),
        T.RandomApply(
            T.AugmentationList(
                [
                    T.ResizeShortestEdge([40, 50, 60], sample_style="choice"),
                    T.RandomCrop("absolute_range", (38, 60)),
                ]
            )
        ),
        T.ResizeShortestEdge([48, 56, 64], 133, "choice"),
    ],
}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_draw_and_do_the_same(name, dtype):
    random = np.random.RandomState(0)
    image = random.randint(0, 256, (60, 83, 3)).astype(dtype)
    classes = random.randint(0, 256, (60, 83)).astype(np.uint8)
    boxes = np.array([[3.0, 4, 50, 40], [10, 20, 12, 30]])
    for seed in range(8):
        results = []
        for T in (our_t, real("data.transforms")):
            np.random.seed(seed)
            inputs = T.AugInput(image.copy(), boxes=boxes.copy(), sem_seg=classes.copy())
            transforms = T.AugmentationList(AUGMENTATIONS[name](T))(inputs)
            results.append((inputs, transforms, np.random.rand()))
        (mine, my_transforms, my_next), (theirs, their_transforms, their_next) = results
        assert_array_equal(mine.image, theirs.image)
        assert mine.image.dtype == theirs.image.dtype
        assert_array_equal(mine.sem_seg, theirs.sem_seg)
        assert_array_equal(mine.boxes, theirs.boxes)
        assert my_next == their_next  # As many random numbers were drawn.
        assert [type(t).__name__ for t in my_transforms.transforms] == [
            type(t).__name__ for t in their_transforms.transforms
        ]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("interp", [Image.NEAREST, Image.BILINEAR, Image.BICUBIC])
def test_resizing_every_shape(dtype, channels, interp):
    image = np.random.RandomState(0).randint(0, 256, (21, 34, *channels)).astype(dtype)
    mine, theirs = (
        T.ResizeTransform(21, 34, 55, 13, interp).apply_image(image)
        for T in (our_t, real("data.transforms"))
    )
    assert_array_equal(mine, theirs)


NAMES = [
    *(f"coco_2017_{split}{kind}" for split in ("train", "val") for kind in ("", "_panoptic")),
    *(f"cityscapes_fine_panoptic_{split}" for split in ("train", "val")),
]


@pytest.mark.parametrize("name", NAMES)
def test_metadata_are_the_same(name):
    def as_json(catalog):
        return json.dumps(catalog.get(name).as_dict(), sort_keys=True)

    assert as_json(ours.MetadataCatalog) == as_json(real("data").MetadataCatalog)
    assert name in ours.DatasetCatalog and name in real("data").DatasetCatalog


@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 3)])
def test_samplers_give_the_same_samples(monkeypatch, rank, world_size):
    streams = []
    for module, comm in (
        (our_samplers, importlib.import_module("d2_psformer.d2lite.utils.comm")),
        (real("data.samplers"), real("utils.comm")),
    ):
        monkeypatch.setattr(comm, "get_rank", lambda: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: world_size)
        streams.append(list(module.InferenceSampler(17)))
    assert streams[0] == streams[1]


@pytest.fixture
def coco(tmp_path):
    """A file of COCO's format with polygons of shapes and sizes, on one image."""
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (60, 83, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    annotations = []
    for i in range(8):
        polygon = (random.rand(random.randint(3, 7), 2) * (83, 60)).round(2)
        low, high = polygon.min(0), polygon.max(0)
        annotations.append(
            {
                "id": i + 1,
                "image_id": 2,
                "category_id": (3, 7)[i % 2],
                "iscrowd": int(i == 5),
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "segmentation": [polygon.ravel().tolist()],
            }
        )
    content = {
        "images": [{"id": 2, "file_name": "a.png", "height": 60, "width": 83}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": annotations,
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return str(tmp_path / "coco.json"), str(tmp_path)


def test_coco_files_are_read_alike(coco):
    mine = load_coco_json(*coco, "against_detectron2")
    theirs = real("data.datasets").load_coco_json(*coco, "against_detectron2")
    assert mine == theirs
    real("data").MetadataCatalog.remove("against_detectron2")
    ours.MetadataCatalog.remove("against_detectron2")
