"""Semantic data: registration, records, labels, alignment by name, the check."""

import numpy as np
import pytest
from PIL import Image
from small_data import write_semantic

from d2_psformer.classes import Classes
from d2_psformer.cli.main import main
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import (
    check_dataset,
    register_from_config,
    register_semantic,
)
from d2_psformer.data.class_metadata import (
    align_data_set,
    class_metadata,
    has_classes,
    is_class_metadata,
    restore_class_metadata,
)
from d2_psformer.data.reading import read_class_map
from d2_psformer.utils.errors import UserError

NAMES = ["road", "tree", "sky"]


@pytest.fixture
def labels(tmp_path):
    return write_semantic(tmp_path)


def register(root, name="streets", names=NAMES):
    register_semantic(name, root / "images", root / "labels", names)
    return name


def test_classes_are_all_stuff_in_the_order_of_their_names(labels, tmp_path):
    metadata = MetadataCatalog.get(register(tmp_path))
    assert metadata.stuff_classes == NAMES
    assert (metadata.evaluator_type, metadata.ignore_label) == ("sem_seg", 255)
    classes = Classes.from_metadata(metadata)
    assert (classes.thing_ids, classes.stuff_ids, classes.names) == ((), (0, 1, 2), tuple(NAMES))
    assert len(set(classes.colors)) == 3


def test_things_among_the_stuff_are_things():
    classes = Classes.from_metadata({"stuff_classes": NAMES, "thing_classes": ["tree"]})
    assert (classes.thing_ids, classes.stuff_ids) == ((1,), (0, 2))


def test_records_pair_every_png_with_its_image(labels, tmp_path):
    (tmp_path / "images" / "unlabelled.jpg").touch()
    records = DatasetCatalog.get(register(tmp_path))
    assert records == [
        {
            "file_name": str(tmp_path / f"images/{i}.jpg"),
            "image_id": str(i),
            "sem_seg_file_name": str(tmp_path / f"labels/{i}.png"),
        }
        for i in range(2)
    ]
    for record, expected in zip(records, labels, strict=True):
        np.testing.assert_array_equal(read_class_map(record, expected.shape, 3), expected)


def test_the_config_registers_it_twice_without_harm(labels, tmp_path, cfg):
    cfg.DATASETS.REGISTER = [["s", str(tmp_path / "images"), str(tmp_path / "labels"), NAMES]]
    register_from_config(cfg)
    register_from_config(cfg)
    assert len(DatasetCatalog.get("s")) == 2
    cfg.DATASETS.REGISTER[0][3] = NAMES[:2]
    with pytest.raises(UserError, match="'s' is already registered with other files or classes"):
        register_from_config(cfg)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "write a list of names"),
        (["a", 3], "write a list of names"),
        (["a", "b", "a"], "two classes 'a'"),
        ([str(i) for i in range(256)], r"256 classes: 2\.\.\.255 are possible"),
        (["crack"], r"1 class: .* give the background a class"),
    ],
)
def test_wrong_names_are_refused(labels, tmp_path, names, sentence):
    with pytest.raises(UserError, match=f"'streets' has .*{sentence}"):
        register(tmp_path, names=names)


def test_classes_are_aligned_by_name(labels, tmp_path, cfg):
    reference = {"name": "model", "stuff_classes": ["sky", "road", "tree"]}
    name = register(tmp_path)
    align_data_set(name, reference, "the model")
    assert Classes.from_metadata(MetadataCatalog.get(name)).names == ("sky", "road", "tree")
    record = DatasetCatalog.get(name)[0]
    assert record["sem_seg_classes"] == [1, 2, 0]
    expected = np.array([1, 2, 0, *[255] * 253])[labels[0]]
    np.testing.assert_array_equal(read_class_map(record, expected.shape, 3), expected)
    register(tmp_path)  # the same names in the same order as before


def test_records_of_another_loader_are_aligned_too(labels, tmp_path):
    records = DatasetCatalog.get(register(tmp_path))
    DatasetCatalog.register("theirs", lambda: records)
    MetadataCatalog.get("theirs").set(
        stuff_classes=NAMES, evaluator_type="sem_seg", ignore_label=255
    )
    for order, expected in ((["sky", "road", "tree"], [1, 2, 0]), (["tree", "sky", "road"], None)):
        align_data_set("theirs", {"name": "m", "stuff_classes": order}, "the model")
        found = DatasetCatalog.get("theirs")[0]["sem_seg_classes"]
        assert found == (expected or [order.index(name) for name in NAMES])


def test_other_classes_are_refused(labels, tmp_path):
    reference = {"name": "model", "stuff_classes": ["sky", "road"]}
    with pytest.raises(UserError, match="only the first has stuff 'tree'"):
        align_data_set(register(tmp_path), reference, "the model")


def test_a_checkpoint_restores_the_classes(labels, tmp_path):
    metadata = class_metadata(register(tmp_path))
    assert has_classes("streets") and is_class_metadata(metadata)
    restore_class_metadata({**metadata, "name": "elsewhere"})
    restored = Classes.from_metadata(MetadataCatalog.get("elsewhere"))
    MetadataCatalog.remove("elsewhere")
    assert restored.names == tuple(NAMES)


def test_a_png_without_image_and_a_folder_without_png(labels, tmp_path):
    register(tmp_path)
    (tmp_path / "images/1.jpg").unlink()
    with pytest.raises(UserError, match=r"Label PNG '1\.png' of '.*labels' has no image '1\.png'"):
        DatasetCatalog.get("streets")
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"labels' has no file '\*\.png'"):
        DatasetCatalog.get("streets")


def test_images_and_labels_in_one_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="images and labels in one folder"):
        register_semantic("same", tmp_path, tmp_path, NAMES)


def test_palette_and_16_bits_hold_labels(tmp_path):
    labels = np.array([[0, 1, 2, 255]])
    palette = Image.fromarray(labels.astype(np.uint8))
    palette.putpalette([255 - i // 3 for i in range(768)])
    palette.save(tmp_path / "p.png")
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "16.png")
    for name in ("p.png", "16.png"):
        record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / name)}
        np.testing.assert_array_equal(read_class_map(record, labels.shape, 3), labels)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.full((4, 4), 3, np.uint8), r"a\.png' has class 3: number the classes 0\.\.\.2,"),
        (np.zeros((4, 4, 3), np.uint8), r"a\.png' has mode RGB"),
    ],
)
def test_label_images_of_no_use_are_named(tmp_path, array, sentence):
    Image.fromarray(array).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / "a.png")}
    with pytest.raises(UserError, match=sentence):
        read_class_map(record, (4, 4), 3)


def test_the_check_counts_pixels(labels, tmp_path):
    report = check_dataset(register(tmp_path))
    assert report.faults == []
    pixels = np.stack(labels)
    assert report.counts[:, 3].tolist() == [int((pixels == c).sum()) for c in range(3)]
    assert report.counts[:, 0].tolist() == [2, 2, 2]
    assert report.void == (pixels == 255).sum()


def test_the_command_names_every_fault(labels, tmp_path, capsys):
    Image.fromarray(labels[0][:-1]).save(tmp_path / "labels/0.png")
    labels[1][-1, -1] = 77
    Image.fromarray(labels[1]).save(tmp_path / "labels/1.png")
    files = ["--images", tmp_path / "images", "--label-folder", tmp_path / "labels"]
    assert main(["check", "own", *map(str, files), "--workers", "0", "--classes", *NAMES]) == 1
    output = capsys.readouterr().out
    assert "0.png' is 32 x 23 pixels, but image" in output
    assert "1.png' has class 77" in output
    assert "2 images, 2 errors, " in output


def test_negative_classes_are_refused(labels, tmp_path):
    path = tmp_path / "labels" / "0.png"
    Image.fromarray(np.full((24, 32), -1, np.int32)).save(path, "TIFF")  # whatever its name
    record = {"file_name": "0.jpg", "sem_seg_file_name": str(path)}
    with pytest.raises(UserError, match=r"0\.png' has class -1: number the classes 0\.\.\.2"):
        read_class_map(record, (24, 32), 3)
