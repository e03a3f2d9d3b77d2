"""Images and ground truth as deeplab2's sample generator makes them in evaluation mode."""

import numpy as np
import pytest

from d2_psformer.classes import Classes
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.data import SegmentMapper, build_augmentation

DIVISOR = 256  # a panoptic label is the class times this plus the number of the instance


@pytest.fixture(scope="module")
def cases(reference_max_deeplab) -> list[dict[str, np.ndarray]]:
    content = {}
    with np.load(reference_max_deeplab / "data_cases.npz") as archive:
        for key in archive.files:
            case, _, name = key.partition("/")
            content.setdefault(case, {})[name] = archive[key]
    return list(content.values())


def register(tiny, cases) -> list[dict]:
    """The records of a panoptic data set of all cases; number 0 of a thing is a crowd."""
    crowds, things, every = set(), set(), set()
    for golden in cases:
        crowds |= set(golden["out/semantic_gt"][golden["out/is_crowd_gt"] > 0].tolist())
        things |= set(golden["out/thing_id_class_gt"].tolist()) - {-1}
        every |= set((golden["in/panoptic_label"] // DIVISOR).ravel().tolist()) - {0}
    tiny.content["categories"] = [
        {"id": c, "name": str(c), "isthing": int(c in things | crowds)} for c in sorted(every)
    ]
    for golden in cases:
        labels = golden["in/panoptic_label"]
        ids = set(labels.ravel().tolist()) - {0}
        segments = [
            (i, i // DIVISOR, int(i // DIVISOR in crowds and i % DIVISOR == 0)) for i in ids
        ]
        tiny.add(labels, segments, image=golden["in/image"])
    assert crowds and things
    return tiny.records()


def masks_of(classes, masks) -> set[tuple[int, bytes]]:
    """What can be compared whatever the order."""
    return {(int(c), np.asarray(mask).tobytes()) for c, mask in zip(classes, masks, strict=True)}


def test_golden_samples(cases, tiny, cfg):
    records = register(tiny, cases)
    classes = Classes.from_metadata(MetadataCatalog.get("tiny"))
    category_ids = np.array([classes.category_ids[k] for k in range(classes.num_classes)])
    cfg.INPUT.DEEPLAB2.ENABLED = True
    for golden, record in zip(cases, records, strict=True):
        cfg.INPUT.DEEPLAB2.SIZE = len(golden["out/image"])
        augmentations = build_augmentation(cfg, is_train=False)
        sample = SegmentMapper(True, augmentations=augmentations, image_format="RGB")(record)
        image = sample["image"].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(image, golden["out/image"], rtol=0, atol=1e-3)
        height, width = golden["out/resized_image"].shape[:2]
        assert not sample["padding_mask"][:height, :width].any()
        assert (~sample["padding_mask"]).sum() == height * width

        found = sample["sem_seg"].numpy()
        found = np.where(found == 255, 0, category_ids[np.where(found == 255, 0, found)])
        np.testing.assert_array_equal(found, golden["out/semantic_gt"])

        instances = sample["instances"]
        is_thing = np.isin(instances.gt_classes, classes.thing_ids)
        masks = instances.gt_masks.tensor[is_thing]
        found = masks_of(category_ids[instances.gt_classes[is_thing]], masks)
        things = golden["out/thing_id_class_gt"]
        things = things[things >= 0]
        masks = golden["out/thing_id_mask_gt"] == np.arange(len(things))[:, None, None]
        assert found == masks_of(things, masks)
