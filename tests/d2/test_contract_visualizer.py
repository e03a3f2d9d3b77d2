"""Pictures of segments and instances, the same on both backends."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

from d2_psformer.d2 import from_backend
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.structures import BitMasks, Boxes, Instances
from d2_psformer.d2.utils import VideoVisualizer, Visualizer

ColorMode = from_backend("utils.visualizer")("ColorMode")
H, W = 120, 160
SKY, CAT = (0, 0, 255), (255, 0, 0)


@pytest.fixture(autouse=True)
def seed():
    """Detectron2 draws colours by chance."""
    np.random.seed(0)


@pytest.fixture
def metadata():
    name = "contract_visualizer"
    yield MetadataCatalog.get(name).set(
        thing_classes=["cat", "sky"],
        stuff_classes=["cat", "sky"],
        thing_colors=[CAT, SKY],
        stuff_colors=[CAT, SKY],
    )
    MetadataCatalog.remove(name)


@pytest.fixture
def image():
    """Grey, with a pattern."""
    pattern = np.random.RandomState(0).randint(90, 160, (H, W, 1), dtype=np.uint8)
    return pattern.repeat(3, axis=2)


def mask_of(x0, y0, x1, y1):
    mask = torch.zeros(H, W, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def panoptic():
    """Sky above, a cat below, void beside it."""
    ids = torch.zeros(H, W, dtype=torch.int32)
    ids[:50] = 3
    ids[60:110, 20:90] = 8
    info = [
        {"id": 3, "category_id": 1, "isthing": False},
        {"id": 8, "category_id": 0, "isthing": True, "score": 0.87},
    ]
    return ids, info


def instances(*boxes):
    found = Instances((H, W))
    found.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
    found.pred_masks = torch.stack([mask_of(*box) for box in boxes])
    found.scores = torch.linspace(0.9, 0.5, len(boxes))
    found.pred_classes = torch.zeros(len(boxes), dtype=torch.long)
    return found


def typical(picture):
    return np.median(np.asarray(picture, dtype=float).reshape(-1, 3), axis=0)


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.5])
def test_the_picture_has_the_size_of_the_image(image, metadata, scale):
    output = Visualizer(image, metadata, scale=scale).get_output()
    picture = output.get_image()
    assert picture.shape == (H * scale, W * scale, 3) and picture.dtype == np.uint8


def test_without_drawing_it_is_the_image(image, metadata):
    assert_array_equal(Visualizer(image, metadata).get_output().get_image(), image)


def test_panoptic_segments_are_tinted(image, metadata):
    visualizer = Visualizer(image, metadata)
    ids, info = panoptic()
    picture = visualizer.draw_panoptic_seg(ids, info, alpha=0.6).get_image().astype(float)
    sky, cat = typical(picture[:45]), typical(picture[65:105, 25:85])
    assert sky[2] > sky[0] + 60 and cat[0] > cat[1] + 20 and cat[0] > cat[2] + 20
    # Void stays as it was (labels may reach into it a little).
    assert_array_equal(picture[60:, 130:], image[60:, 130:])


def test_labels_are_written(image, metadata):
    def draw(names):
        meta = MetadataCatalog.get("contract_names_" + names[1])
        meta.set(**{**metadata.as_dict(), "name": meta.name, "stuff_classes": names})
        ids, info = panoptic()
        picture = Visualizer(image, meta).draw_panoptic_seg(ids, info[:1]).get_image()
        MetadataCatalog.remove(meta.name)
        return picture

    different = (draw(["cat", "sky"]) != draw(["cat", "water"])).any(axis=2)
    assert 20 < different.sum() < 3000  # Text, and the ground it stands on.


def test_predictions_are_drawn_the_same_way(image, metadata):
    ids, info = panoptic()
    picture = Visualizer(image, metadata).draw_panoptic_seg_predictions(ids, info).get_image()
    assert (picture != image).any()


def test_no_segments_draw_nothing(image, metadata):
    ids = torch.zeros(H, W, dtype=torch.int32)
    picture = Visualizer(image, metadata).draw_panoptic_seg(ids, []).get_image()
    assert_array_equal(picture, image)


def test_small_stuff_can_be_left_out(image, metadata):
    ids, info = panoptic()
    output = Visualizer(image, metadata).draw_panoptic_seg(ids, info[:1], area_threshold=10**6)
    assert_array_equal(output.get_image(), image)


def test_semantic_classes(image, metadata):
    classes = np.full((H, W), 255)
    classes[:60] = 1
    picture = Visualizer(image, metadata).draw_sem_seg(classes).get_image()
    assert typical(picture[:50])[2] > 190
    assert_array_equal(picture[70:], image[70:])
    as_tensor = Visualizer(image, metadata).draw_sem_seg(torch.as_tensor(classes)).get_image()
    assert_array_equal(picture, as_tensor)


@pytest.mark.parametrize("mode", list(ColorMode))
def test_instances(image, metadata, mode):
    visualizer = Visualizer(image, metadata, instance_mode=mode)
    picture = visualizer.draw_instance_predictions(instances((30, 40, 130, 110))).get_image()
    assert (typical(picture[50:100, 40:120]) != typical(image[50:100, 40:120])).any()
    assert_array_equal(picture[:30, :20], image[:30, :20])
    if mode == ColorMode.SEGMENTATION:
        red, green, blue = typical(picture[60:100, 50:120])
        assert red > green + 20 and red > blue + 20


def test_what_is_no_instance_turns_grey():
    coloured = np.random.RandomState(0).randint(0, 256, (H, W, 3), dtype=np.uint8)
    none = instances((0, 0, 5, 5))[:0]
    visualizer = Visualizer(coloured, instance_mode=ColorMode.IMAGE_BW)
    picture = visualizer.draw_instance_predictions(none).get_image().astype(int)
    assert np.abs(np.diff(picture, axis=2)).max() <= 1


def test_no_metadata_are_needed(image):
    output = Visualizer(image).draw_instance_predictions(instances((30, 40, 130, 110)))
    assert (output.get_image() != image).any()


@pytest.mark.parametrize(
    "masks",
    [
        mask_of(40, 30, 120, 100).numpy()[None],
        mask_of(40, 30, 120, 100)[None],
        BitMasks(mask_of(40, 30, 120, 100)[None]),
    ],
    ids=["array", "tensor", "BitMasks"],
)
def test_masks_of_all_kinds(image, metadata, masks):
    output = Visualizer(image, metadata).overlay_instances(masks=masks, assigned_colors=[(1, 0, 0)])
    picture = output.get_image()
    assert typical(picture[40:90, 50:110])[0] > 180
    assert_array_equal(picture[:25], image[:25])


def test_boxes(image, metadata):
    boxes = np.array([[40.0, 30, 120, 100]])
    output = Visualizer(image, metadata).overlay_instances(
        boxes=boxes, labels=["cat"], assigned_colors=["red"]
    )
    picture = output.get_image()
    assert typical(picture[60:90, 39:41])[0] > typical(picture[60:90, 39:41])[1] + 30
    assert_array_equal(picture[60:90, 60:100], image[60:90, 60:100])  # Not filled.


def test_numbers_of_instances_must_agree(image, metadata):
    with pytest.raises(AssertionError):
        Visualizer(image, metadata).overlay_instances(
            masks=mask_of(40, 30, 120, 100)[None], labels=["a", "b"]
        )


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_pictures_are_saved(image, metadata, tmp_path, extension):
    output = Visualizer(image, metadata).draw_panoptic_seg(*panoptic())
    path = tmp_path / f"picture.{extension}"
    output.save(str(path))
    with Image.open(path) as saved:
        assert saved.size == (W, H)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_objects_of_a_video_keep_their_colours(image, metadata):
    video = VideoVisualizer(metadata)
    colours = []
    for shift in (0, 4, 8):
        ids = torch.zeros(H, W, dtype=torch.int32)
        boxes = [(10 + shift, 20, 70 + shift, 90), (80 + shift, 20, 140 + shift, 90)]
        # The ids say nothing about who is who.
        order = boxes if shift != 4 else boxes[::-1]
        for i, (x0, y0, x1, y1) in enumerate(order, start=1):
            ids[y0:y1, x0:x1] = i
        info = [{"id": i, "category_id": 0, "isthing": True} for i in (1, 2)]
        picture = video.draw_panoptic_seg_predictions(image, ids, info).get_image()
        colours.append([typical(picture[25:85, x0 + 5 : x1 - 5]) for x0, _, x1, _ in boxes])
    left, right = np.array(colours).transpose(1, 0, 2)
    assert np.ptp(left, axis=0).max() < 12 and np.ptp(right, axis=0).max() < 12
    assert np.abs(left - right).max() > 20
