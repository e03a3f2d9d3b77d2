"""What ``check_dataset`` and ``check_splits`` find beyond faults of single files."""

import numpy as np
import pytest
from PIL import Image
from small_data import write_instances

from d2_psformer.data import check_dataset, register_instances, register_panoptic
from d2_psformer.data.checks import check_splits
from d2_psformer.data.copies import CopyIndex, fingerprint

IDS = np.array([[1, 1, 2, 2], [3, 3, 0, 2]])
SEGMENTS = [(1, 7), (2, 40), (3, 7, 1)]


def picture(seed: int, size: int = 96) -> np.ndarray:
    """Smooth shapes, as photographs have them."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))


def square(size: int = 96) -> np.ndarray:
    return IDS.repeat(size // 2, 0).repeat(size // 4, 1)


def found(report, kind: str) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(f.severity, f.sentence, f.images) for f in report.findings if f.kind == kind]


def one(report, kind: str) -> tuple[str, str, tuple[int, ...]]:
    (finding,) = found(report, kind)
    return finding


def test_copies_are_found_by_their_pixels(tiny):
    for seed in (1, 2, 1):
        tiny.add(square(), SEGMENTS, image=picture(seed))
    severity, sentence, images = one(check_dataset(tiny.register()), "copies")
    assert (severity, images) == ("warning", (2, 0))
    assert "picture_3.png' has the same pixels as" in sentence


def test_resized_and_compressed_copies_of_photographs_are_found(real_data):
    paths = sorted((real_data / "images").glob("*.jpg"))
    originals = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    index = CopyIndex()
    for place, pixels in enumerate(originals):
        assert index.find(fingerprint(pixels)) is None  # they are all different
        index.add(place, fingerprint(pixels))
    for place, pixels in enumerate(originals):
        image = Image.fromarray(pixels)
        smaller = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
        assert index.find(fingerprint(pixels)) == (place, True)
        assert index.find(fingerprint(np.asarray(smaller))) == (place, False)


def test_images_of_one_colour_are_no_copies():
    index = CopyIndex()
    index.add(0, fingerprint(np.full((90, 90, 3), 100, np.uint8)))
    assert index.find(fingerprint(np.full((90, 90, 3), 101, np.uint8))) is None


def test_leakage_between_splits(tiny, tmp_path):
    for seed in (1, 2):
        tiny.add(square(), SEGMENTS, image=picture(seed))
    train = check_dataset(tiny.register("own_train"))
    tiny.content["images"] = tiny.content["images"][:1]
    tiny.content["annotations"] = tiny.content["annotations"][:1]
    tiny.json = tmp_path / "val.json"
    val = check_dataset(tiny.register("own_val"))
    (finding,) = check_splits([train, val])
    assert (finding.severity, finding.kind, finding.images) == ("error", "leakage", (0,))
    assert "'own_val' shares 1 of its 1 image with 'own_train'" in finding.sentence
    assert check_splits([train]) == []


def test_a_class_that_training_never_shows(tiny, tmp_path):
    tiny.add(square(), SEGMENTS, image=picture(1))
    train = check_dataset(tiny.register("own_train"))
    tiny.content["images"], tiny.content["annotations"] = [], []
    tiny.json = tmp_path / "val.json"
    tiny.add(square(), [(1, 3), (2, 40), (3, 7)], image_id=9, image=picture(2))
    (finding,) = check_splits([train, check_dataset(tiny.register("own_val"))])
    assert "'own_val' has 'cat', which 'own_train' never shows" in finding.sentence


def test_classes_unused_alike_and_of_one_colour(tiny):
    tiny.content["categories"] = [
        {"id": 7, "name": "dog", "isthing": 1, "color": [1, 2, 3]},
        {"id": 40, "name": "sky", "isthing": 0, "color": [1, 2, 3]},
        {"id": 41, "name": "Dog ", "isthing": 1, "color": [9, 2, 3]},
    ]
    tiny.add(square(), SEGMENTS, image=picture(1))
    report = check_dataset(tiny.register())
    assert one(report, "unused classes")[1] == "No image shows Dog ."
    assert "names of classes 'dog', 'Dog ' look alike" in one(report, "names")[1]
    assert "dog, sky have one colour, [1, 2, 3]" in one(report, "colours")[1]


def test_stuff_with_instances_and_crowds(tiny):
    tiny.add(square(), [(1, 40), (2, 40), (3, 40, 1)], image=picture(1))
    report = check_dataset(tiny.register())
    assert "Stuff class 'sky' has several segments in 1 image:" in one(report, "isthing")[1]
    severities = [(severity, images) for severity, _, images in found(report, "crowds")]
    assert severities == [("warning", (0,)), ("note", (0,))]


def test_a_thing_that_is_perhaps_stuff(tiny):
    for seed in range(10):
        tiny.add(np.ones((64, 64), int), [(1, 7)], image=picture(seed, 64))
    severity, sentence, images = one(check_dataset(tiny.register()), "isthing")
    assert (severity, images) == ("warning", tuple(range(10)))
    assert "Thing class 'dog'" in sentence
    assert "fills 100%" in sentence


def test_sizes_rotations_and_empty_images(tiny):
    exif = Image.Exif()
    exif[274] = 3  # upside down
    tiny.add(np.zeros((96, 96), int), [], image=picture(1), extension=".jpg", exif=exif)
    tiny.add(IDS, SEGMENTS)
    report = check_dataset(tiny.register())
    assert one(report, "EXIF")[2] == (0,)
    assert one(report, "empty")[2] == (0,)
    assert one(report, "tiny image")[2] == (1,)
    statistics = report.statistics()
    assert statistics["height"] == {"min": 2, "median": 49, "max": 96}
    assert statistics["segments an image"] == {"min": 0, "median": 1.5, "max": 3}


def test_huge_images(tiny, monkeypatch):
    monkeypatch.setattr("d2_psformer.data.set_findings.MOST_PIXELS", 96 * 96 - 1)
    tiny.add(square(), SEGMENTS, image=picture(1))
    assert one(check_dataset(tiny.register()), "huge image")[2] == (0,)


def test_every_missing_file_is_named(tiny):
    for seed in range(4):
        tiny.add(square(), SEGMENTS, image=picture(seed))
    for path in (tiny.images / "picture_1.png", tiny.images / "picture_3.png"):
        path.unlink()
    (tiny.panoptic / "picture_2.png").unlink()
    faults = check_dataset(tiny.register()).faults
    assert [fault.split("'")[1] for fault in faults] == [f"picture_{k}.png" for k in (1, 3, 2)]


def test_images_that_nothing_uses(tiny):
    tiny.add(square(), SEGMENTS, image=picture(1))
    Image.new("RGB", (9, 9)).save(tiny.images / "other.png")
    severity, sentence, _ = one(check_dataset(tiny.register()), "unused files")
    assert severity == "note"
    assert sentence.startswith("The data set does not use 1 image of")
    assert "'other.png'" in sentence


def test_instance_data(tmp_path):
    json_file = write_instances(tmp_path)
    register_instances("instances", tmp_path / "images", json_file)
    report = check_dataset("instances")
    assert report.faults == []
    assert [row["segments"] for row in report.class_rows()] == [2, 1, 0]
    assert report.to_json()["statistics"]["images"] == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_give_the_same_report(tiny, workers):
    tiny.add(square(), SEGMENTS, image=picture(1))
    tiny.add(square(), SEGMENTS, image=picture(1))
    register_panoptic("again", tiny.images, (tiny.write(), tiny.json)[1], tiny.panoptic)
    report = check_dataset("again", workers=workers)
    assert report.counts[:, 1].sum() == 6
    assert [finding.kind for finding in report.findings] == ["copies", "unused classes", "crowds"]


def test_pngs_in_place_of_images(tiny):
    tiny.add(square(), SEGMENTS)
    tiny.images = tiny.panoptic
    faults = check_dataset(tiny.register()).faults
    assert "is both image and annotation: name the folder of the images" in faults[0]
