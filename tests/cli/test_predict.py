"""``psformer predict``: what it writes, for which inputs, and what it says when it cannot."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import TOYS, write_tiny_model

from d2_psformer.cli import predict
from d2_psformer.cli.main import main
from d2_psformer.d2 import structures as d2_structures
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.engine import restore_class_metadata
from d2_psformer.utils.errors import UserError
from d2_psformer.visualization import Video, write_video

RED, BLUE = (230, 20, 20), (20, 20, 230)


class RedIsBall:
    """Stands in for a trained model: red pixels are a ball, all others floor."""

    def __init__(self, cfg):
        restore_class_metadata(TOYS)
        self.metadata = MetadataCatalog.get("toys_train")

    def __call__(self, image):
        is_red = image[..., 0].astype(int) > image[..., 2].astype(int) + 50
        ids = torch.from_numpy(np.where(is_red, 1, 2).astype(np.int32))
        segments = [
            {"id": 1, "category_id": 0, "isthing": True, "score": 0.9, "area": int(is_red.sum())},
            {
                "id": 2,
                "category_id": 2,
                "isthing": False,
                "score": 0.7,
                "area": int((~is_red).sum()),
            },
        ]
        return {"panoptic_seg": (ids, [s for s in segments if s["area"]])}


@pytest.fixture(autouse=True)
def _forget_toys():
    yield
    if "toys_train" in MetadataCatalog.list():
        MetadataCatalog.remove("toys_train")


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr("d2_psformer.engine.Predictor", RedIsBall)


def picture(x: int = 10) -> np.ndarray:
    """Blue, 48 x 64, with a red rectangle of 20 x 12 pixels at (x, 8)."""
    image = np.full((48, 64, 3), BLUE, np.uint8)
    image[8:20, x : x + 20] = RED
    return image


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    for name in ("street.png", "other/street.png"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(picture()).save(folder / name)
    return folder


def run(*arguments) -> int:
    return main(["predict", *map(str, arguments)])


def segments(path: Path) -> list[dict]:
    return json.loads(path.read_text())["segments_info"]


def test_results_of_an_image(stub, photos, tmp_path, capsys):
    assert run("--input", photos, "--output", tmp_path / "out") == 0
    ball, floor = segments(tmp_path / "out" / "street_segments.json")
    assert (ball["category"], ball["bbox"], ball["area"]) == ("ball", [10, 8, 20, 12], 240)
    assert (floor["category_id"], floor["isthing"]) == (10, False)
    with Image.open(tmp_path / "out" / "street_ids.png") as ids:
        assert ids.getpixel((10, 8)) == (1, 0, 0)
        assert ids.getpixel((9, 8)) == (2, 0, 0)
    assert str(tmp_path / "out") in capsys.readouterr().out


def test_equal_names_do_not_overwrite_each_other(stub, photos, tmp_path):
    out = tmp_path / "out"
    run("--input", photos / "street.png", photos / "other" / "street.png", "--output", out)
    assert sorted(p.name for p in out.glob("*_overlay.jpg")) == [
        "street_2_overlay.jpg",
        "street_overlay.jpg",
    ]
    summary = json.loads((out / "panoptic.json").read_text())
    assert [a["file_name"] for a in summary["annotations"]] == [
        "street_ids.png",
        "street_2_ids.png",
    ]
    assert (out / "contact_sheet.jpg").is_file()


def test_photos_are_turned_upright(stub, tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: viewers show it a quarter turn clockwise
    lossless = {"quality": 100, "subsampling": 0}
    Image.fromarray(picture()).save(tmp_path / "turned.jpg", exif=exif, **lossless)
    run("--input", tmp_path / "turned.jpg", "--output", tmp_path / "out")
    ball, _ = segments(tmp_path / "out" / "turned_segments.json")
    # from x 10, y 8, 20 x 12 in an image 48 pixels high
    np.testing.assert_allclose(ball["bbox"], [48 - 8 - 12, 10, 12, 20], atol=1)


def test_a_broken_image_does_not_stop_the_others(stub, photos, tmp_path, capsys):
    (photos / "a_broken.jpg").write_bytes(b"not a picture")
    (photos / "b_cut.png").write_bytes((photos / "street.png").read_bytes()[:60])
    assert run("--input", photos, "--output", tmp_path / "out") == 1
    assert (tmp_path / "out" / "street_overlay.jpg").is_file()
    printed = capsys.readouterr()
    assert "1 of 3 files done" in printed.out
    complaints = printed.err.strip().splitlines()
    assert len(complaints) == 2
    for complaint, name in zip(complaints, ("a_broken.jpg", "b_cut.png"), strict=True):
        assert complaint.startswith("Image ")
        assert f"{name}' cannot be decoded" in complaint


def test_a_missing_image_does_not_stop_the_others(stub, photos, tmp_path, capsys):
    names = photos / "street.png", photos / "no.png", photos / f"{'a' * 300}.png"
    assert run(*names, "--output", tmp_path / "out") == 1
    assert (tmp_path / "out" / "street_overlay.jpg").is_file()
    printed = capsys.readouterr()
    assert "1 of 3 files done" in printed.out
    assert "no.png' does not exist" in printed.err
    assert "aaa.png' cannot be read (File name too long)" in printed.err


def test_an_image_that_the_model_refuses_is_named(photos, tmp_path, monkeypatch, capsys):
    class Refusing(RedIsBall):
        def __call__(self, image):
            raise UserError("The image is too large.")

    monkeypatch.setattr("d2_psformer.engine.Predictor", Refusing)
    assert run("--input", photos / "street.png", "--output", tmp_path / "out") == 1
    assert f"'{photos / 'street.png'}': The image is too large." in capsys.readouterr().err


def test_a_bug_with_one_image_does_not_stop_the_others(photos, tmp_path, monkeypatch, capsys):
    class Buggy(RedIsBall):
        def __call__(self, image):
            return {}["segments_info"] if image.shape == (2, 3, 3) else super().__call__(image)

    monkeypatch.setattr("d2_psformer.engine.Predictor", Buggy)
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(photos / "small.png")
    assert run("--input", photos, "--output", tmp_path / "out") == 1
    assert (tmp_path / "out" / "street_overlay.jpg").is_file()
    printed = capsys.readouterr().err
    assert f"'{photos}/small.png' failed:" in printed
    assert "Traceback" in printed and "KeyError: 'segments_info'" in printed


def test_sides_of_one_pixel(tmp_path):
    config, checkpoint = write_tiny_model(tmp_path)
    (tmp_path / "thin").mkdir()
    for height, width in ((1, 5000), (5000, 1), (2, 1)):
        Image.new("RGB", (width, height)).save(tmp_path / "thin" / f"{height}.png")
    files = ("--input", tmp_path / "thin", "--output", tmp_path / "out")
    assert (
        run("--config-file", config, *files, "--attention", "--opts", "MODEL.WEIGHTS", checkpoint)
        == 0
    )
    with Image.open(tmp_path / "out" / "5000_ids.png") as ids:
        assert ids.size == (1, 5000)
    assert segments(tmp_path / "out" / "5000_segments.json")


def test_long_names_are_shortened_and_stay_different(stub, tmp_path):
    (tmp_path / "photos").mkdir()
    for end in "ab":
        Image.fromarray(picture()).save(tmp_path / "photos" / f"{'é' * 124}{end}.png")
    assert run("--input", tmp_path / "photos", "--output", tmp_path / "out") == 0
    names = [path.name for path in (tmp_path / "out").glob("*_segments.json")]
    assert sorted(names) == [f"{'é' * 100}_2_segments.json", f"{'é' * 100}_segments.json"]


def test_pixels_of_more_than_8_bits(stub, photos, tmp_path, capsys):
    (photos / "street.png").unlink()
    half = np.full((48, 64), 128 * 256 + 255, np.uint16)
    Image.fromarray(half).save(photos / "grey.png")
    Image.fromarray((half / 65535).astype(np.float32)).save(photos / "unclear.tif")
    assert run("--input", photos, "--output", tmp_path / "out") == 1
    with Image.open(tmp_path / "out" / "grey_overlay.jpg") as overlay:
        assert 20 < np.asarray(overlay).mean() < 235  # neither black nor white
    assert "unclear.tif' has floating-point values" in capsys.readouterr().err


def test_video(stub, tmp_path):
    with write_video(tmp_path / "walk.mp4", 12) as video:
        for x in (5, 10, 15, 20):
            video.add(picture(x))
    assert run("--input", tmp_path / "walk.mp4", "--output", tmp_path / "out") == 0
    drawn = Video(tmp_path / "out" / "walk_overlay.mp4")
    assert drawn.rate == pytest.approx(12)
    assert len(list(drawn)) == 4
    result = json.loads((tmp_path / "out" / "walk_segments.json").read_text())
    assert result["overlay"] == "walk_overlay.mp4"
    lefts = [frame["segments_info"][0]["bbox"][0] for frame in result["frames"]]
    np.testing.assert_allclose(lefts, [5, 10, 15, 20], atol=2)
    assert [frame["frame"] for frame in result["frames"]] == [0, 1, 2, 3]


def test_a_broken_video_is_left_out(stub, photos, tmp_path, capfd):
    (tmp_path / "walk.mp4").write_bytes(b"no video")
    assert run("--input", tmp_path / "walk.mp4", photos, "--output", tmp_path / "out") == 1
    assert (tmp_path / "out" / "street_overlay.jpg").is_file()
    assert "walk.mp4' cannot be read" in capfd.readouterr().err


def test_a_real_model_of_a_data_set_that_is_not_here(photos, tmp_path):
    config, checkpoint = write_tiny_model(tmp_path)
    run(
        *("--config-file", config, "--input", photos, "--output", tmp_path / "out"),
        *("--opts", "MODEL.WEIGHTS", checkpoint),
    )
    found = segments(tmp_path / "out" / "street_segments.json")
    assert found
    assert {s["category"] for s in found} <= set(TOYS["stuff_classes"])
    with Image.open(tmp_path / "out" / "street_ids.png") as png:
        ids = np.asarray(png).astype(int) @ [1, 256, 65536]
    assert {s["id"]: s["area"] for s in found} == {
        s["id"]: int((ids == s["id"]).sum()) for s in found
    }


@pytest.mark.parametrize("kind", ["SEMANTIC_ON", "INSTANCE_ON"])
def test_a_model_without_panoptic_results(kind, photos, tmp_path):
    config, checkpoint = write_tiny_model(tmp_path)
    node = "MODEL.POSTPROCESSING"
    options = [f"{node}.PANOPTIC_ON", "False", f"{node}.{kind}", "True"]
    arguments = ["--config-file", config, "--input", photos, "--confidence-threshold", "0.001"]
    options = ["--opts", "MODEL.WEIGHTS", checkpoint, *options]
    assert run(*arguments, "--output", tmp_path / "out", *options) == 0
    found = segments(tmp_path / "out" / "street_segments.json")
    with Image.open(tmp_path / "out" / "street_ids.png") as png:
        ids = np.asarray(png).astype(int) @ [1, 256, 65536]
    assert {s["id"]: s["area"] for s in found} == dict(
        zip(*np.unique(ids[ids > 0], return_counts=True), strict=True)
    )
    assert found and {s["isthing"] for s in found} == {kind == "INSTANCE_ON"}
    assert {"score" in s for s in found} == {kind == "INSTANCE_ON"}
    with pytest.raises(SystemExit, match="is drawn for panoptic segments"):
        run(*arguments, "--output", tmp_path / "two", "--attention", *options)


def test_instances_of_a_low_score_and_of_stuff_are_left_out(photos, tmp_path, monkeypatch):
    class Instances(RedIsBall):
        def __call__(self, image):
            found = d2_structures.Instances(image.shape[:2])
            found.pred_masks = torch.zeros(4, *image.shape[:2], dtype=torch.bool)
            found.pred_masks[0], found.pred_masks[1, :10], found.pred_masks[2:, :5] = True, True, 1
            found.scores = torch.tensor([0.9, 0.6, 0.95, 0.4])
            found.pred_classes = torch.tensor([1, 0, 2, 0])  # 2 is stuff
            return {"instances": found}

    monkeypatch.setattr("d2_psformer.engine.Predictor", Instances)
    run("--input", photos, "--output", tmp_path / "out")
    box, ball = segments(tmp_path / "out" / "street_segments.json")
    assert (box["category"], box["score"], box["bbox"]) == ("box", 0.9, [0, 10, 64, 38])
    assert (ball["category"], ball["score"], ball["bbox"]) == ("ball", 0.6, [0, 0, 64, 10])
    run("--input", photos, "--output", tmp_path / "high", "--confidence-threshold", "0.8")
    (box,) = segments(tmp_path / "high" / "street_segments.json")
    assert box["area"] == 64 * 48


def test_attention_of_chosen_segments(photos, tmp_path, caplog, monkeypatch):
    logger = logging.getLogger("d2_psformer")
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, caplog.handler])
    config, checkpoint = write_tiny_model(tmp_path)
    arguments = ["--config-file", config, "--input", photos, "--output", tmp_path / "out"]
    run(*arguments, "--attention", "--opts", "MODEL.WEIGHTS", checkpoint)
    found = segments(tmp_path / "out" / "street_segments.json")
    folder = tmp_path / "out" / "street_attention"
    for segment in found[:6]:
        stem = f"{segment['id']}_{segment['category']}"
        assert (folder / f"{stem}_maps.jpg").is_file()
        assert (folder / f"{stem}_points.jpg").is_file() == segment["isthing"]
    run(*arguments, "--attention", "77", "--opts", "MODEL.WEIGHTS", checkpoint)
    assert "street has no segment for --attention 77" in caplog.text
    with pytest.raises(SystemExit) as stop:
        run(*arguments, "--attention", "door", "--opts", "MODEL.WEIGHTS", checkpoint)
    assert "no class 'door'" in str(stop.value)


def test_without_arguments_the_scenes_model_is_shown(tmp_path, monkeypatch):
    seen = []

    class Stub(RedIsBall):
        def __init__(self, cfg):
            super().__init__(cfg)
            seen.append(cfg)

    monkeypatch.setattr("d2_psformer.engine.Predictor", Stub)
    monkeypatch.setattr(predict, "NUM_SCENES", 2)
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    assert tuple(seen[0].DATASETS.TRAIN) == ("scenes_train",)
    assert Path(seen[0].MODEL.WEIGHTS).name == "psformer_scenes.pth"
    written = tmp_path / "output" / "pictures"
    assert len(list(written.glob("scene_*_overlay.jpg"))) == 2
    assert (written / "contact_sheet.jpg").is_file()


def test_settings_are_the_models(stub, photos, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(RedIsBall, "__init__", lambda self, cfg: seen.append(cfg), raising=True)
    options = ["--confidence-threshold", "0.6", "--opts", "MODEL.WEIGHTS", "x.pth"]
    with pytest.raises(AttributeError, match="metadata"):
        run("--input", photos, "--output", tmp_path / "out", *options)
    assert seen[0].MODEL.POSTPROCESSING.SCORE_THRESHOLD == 0.6
    assert seen[0].MODEL.WEIGHTS == "x.pth"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--input", "nothing.jpg"], "'nothing.jpg' does not exist"),
        (["--config-file", "none.yaml", "--input", "{photo}"], "'none.yaml' does not exist"),
        (["--input", "{photo}", "--opts", "MODEL.WEIGHTS", "none.pth"], "MODEL.WEIGHTS"),
        (["--input", "{photo}", "--opts", "NO.SUCH", "1"], "NO.SUCH"),
        (["--input", "{photo}", "--output", "{folder}"], "change --output"),
    ],
)
def test_errors_are_one_sentence(arguments, sentence, photos, tmp_path):
    known = {"photo": photos / "street.png", "folder": photos}
    out = [] if "--output" in arguments else ["--output", tmp_path / "out"]
    with pytest.raises(SystemExit) as stop:
        run(*out, *(argument.format(**known) for argument in arguments))
    assert sentence in str(stop.value)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--confidence-threshold", "60"], "'60' is no score: give 0 to 1"),
        (["--confidence-threshold", "much"], "'much' is no score: give 0 to 1"),
    ],
)
def test_impossible_arguments(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
