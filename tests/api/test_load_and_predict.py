"""Models are loaded from whatever names them, and segment whatever shows something."""

import pickle
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import ExifTags, Image
from tiny_model import TOYS, write_tiny_model

import d2_psformer
from d2_psformer import FailedImagesError
from d2_psformer.api.configs import model_config
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.data.scenes import generate_scene
from d2_psformer.engine import Predictor, load_config
from d2_psformer.utils.errors import NotFiniteError, UserError
from d2_psformer.visualization import write_video


def ids(result) -> np.ndarray:
    return result.panoptic


def test_a_result_is_the_models(model, tiny, picture):
    cfg = load_config(str(tiny[0]), ["MODEL.WEIGHTS", str(tiny[1]), "MODEL.AUTOCAST", "float32"])
    expected, segments_info = Predictor(cfg)(picture)["panoptic_seg"]
    found = model.predict(picture)
    np.testing.assert_array_equal(found.panoptic, expected.numpy())
    assert [segment.id for segment in found.segments] == [info["id"] for info in segments_info]
    assert found.segments
    for segment in found.segments:
        assert segment.category_id in TOYS["stuff_dataset_id_to_contiguous_id"]
        assert segment.area == (found.panoptic == segment.id).sum()


def test_what_a_model_says_of_itself(model, checkpoint):
    assert model.classes.names == tuple(TOYS["stuff_classes"])
    assert model.device == torch.device("cpu")
    text = f"<Model PanopticSegFormer of 4 classes on cpu, weights '{checkpoint}'>"
    assert repr(model) == text


def test_where_the_config_may_be(tiny, checkpoint, tmp_path):
    config, weights = tiny
    shutil.copy(config, tmp_path / "config.yaml")
    beside = shutil.copy(weights, tmp_path / "model_0000009.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    found = {
        str(checkpoint): model_config(checkpoint),
        str(beside): model_config(tmp_path),
        str(weights): model_config(config, weights),
    }
    for path, cfg in found.items():
        assert path == cfg.MODEL.WEIGHTS
        cfg.MODEL.WEIGHTS = ""
    first, *others = [yaml.safe_load(cfg.dump()) for cfg in found.values()]
    assert [first, first] == others


def test_the_model_of_this_package_needs_no_file():
    image, _, _ = generate_scene(20_000_001)
    found = d2_psformer.load("scenes/demo", device="cpu").predict(image)
    assert {"pebbles", "water"} <= {segment.class_name for segment in found.segments}


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        ("nowhere.pth", {}, r"'nowhere\.pth' does not exist"),
        ("scenes/dem", {}, r"Config 'scenes/dem' does not exist.*scenes/demo"),
        ("ade20k/mask2former_R50", {}, r"R50' is a config: give a checkpoint too"),
        ("scenes/demo", {"weights": "nowhere.pth"}, r"'nowhere\.pth' does not exist"),
        (".", {}, r"Folder '\.' is none of a training"),
        ("{tiny}", {}, r"holds no config, and no config\.yaml lies beside it.*weights=FILE"),
        ("{whole}", {"device": "gpu"}, r"device is 'gpu': use 'cuda' or 'cpu'"),
        ("{whole}", {"dtype": "int8"}, r"MODEL\.AUTOCAST is 'int8': use one of 'auto'"),
        ("{whole}", {"options": {"SOLVER.LRR": 1}}, r"Unknown config key 'SOLVER\.LRR'"),
    ],
)
def test_what_cannot_be_loaded(tiny, checkpoint, source, options, sentence):
    source = source.format(tiny=tiny[1], whole=checkpoint)
    with pytest.raises(UserError, match=sentence):
        d2_psformer.load(source, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_only_to_who_asks_for_it(checkpoint):
    assert model_config(checkpoint).MODEL.DEVICE == "cpu"
    with pytest.raises(UserError, match="torch finds no GPU here"):
        d2_psformer.load(checkpoint, device="cuda")


def test_the_type_of_the_computation(checkpoint, picture):
    model = d2_psformer.load(checkpoint, dtype=torch.bfloat16)
    seen = set()
    layer = model._predictor.model.pixel_decoder.layers[0].self_attn.value_proj
    layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    model.predict(picture)
    assert seen == {torch.bfloat16}


def test_models_of_other_classes_under_one_name(model, tmp_path, picture):
    names = dict(zip(["thing_classes", "stuff_classes"], [["cup"], ["cup", "sea"]], strict=True))
    others = {
        **{key: value for key, value in TOYS.items() if "colors" not in key},
        **names,
        "thing_dataset_id_to_contiguous_id": {1: 0},
        "stuff_dataset_id_to_contiguous_id": {1: 0, 2: 1},
    }
    MetadataCatalog.get("toys_train").set(**{k: v for k, v in others.items() if k != "name"})
    theirs = d2_psformer.load(*write_tiny_model(tmp_path)[:1], weights=tmp_path / "tiny.pth")
    assert theirs.classes.names == ("cup", "sea")
    assert {s.class_name for s in model.predict(picture).segments} <= {*TOYS["stuff_classes"]}


@pytest.fixture
def photos(tmp_path, picture):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(picture).save(folder / "a.png")
    Image.fromarray(picture[:, :40]).convert("L").save(folder / "b.png")
    return folder


def test_one_image_gives_one_result(model, picture, photos):
    expected = ids(model.predict(picture))
    tensor = torch.from_numpy(picture).permute(2, 0, 1) / 255
    for same in (photos / "a.png", str(photos / "a.png"), Image.fromarray(picture), tensor):
        np.testing.assert_array_equal(ids(model.predict(same)), expected)
    found = model.predict(photos / "a.png")
    assert (found.name, found.source) == ("a", str(photos / "a.png"))
    np.testing.assert_array_equal(found.image, picture)
    assert ids(model.predict(photos / "b.png")).shape == (50, 40)


def test_files_are_upright(model, tmp_path, picture):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    found = model.predict(tmp_path / "turned.png")
    assert ids(found).shape == (70, 50)
    np.testing.assert_array_equal(found.image, np.rot90(picture, -1))


def test_a_list_gives_a_list(model, picture, photos):
    found = model.predict([picture, photos / "a.png", Image.fromarray(picture), photos / "a.png"])
    assert [result.name for result in found] == ["image_1", "a", "image_3", "a_4"]
    for result in found:
        np.testing.assert_array_equal(ids(result), ids(found[0]))
    batch = model.predict(torch.from_numpy(np.stack([picture, picture])).permute(0, 3, 1, 2))
    assert len(batch) == 2
    assert model.predict([]) == []


def test_folders_and_patterns_give_results_when_they_are_read(model, photos):
    for source in (photos, f"{photos}/*.png"):
        assert [result.name for result in model.predict(source)] == ["a", "b"]
    (photos / "b.png").write_bytes(b"no picture")
    results = model.predict(photos)
    assert next(results).name == "a"
    with pytest.raises(UserError, match=r"b\.png' cannot be decoded"):
        next(results)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_image_that_cannot_be_read_does_not_end_the_others(model, photos, batch_size, caplog):
    broken = photos / "a_broken.png"
    broken.write_bytes(b"no picture")
    results = model.predict(photos, batch_size=batch_size)
    assert [next(results).name for _ in range(2)] == ["a", "b"]
    with pytest.raises(FailedImagesError, match=r"a_broken\.png' cannot be decoded") as caught:
        next(results)
    assert [*caught.value.failures] == [str(broken)]
    assert "Left out: Image" in caplog.text
    (photos / "b_broken.mp4").write_bytes(b"no video")
    with pytest.raises(FailedImagesError, match=r"a_broken\.png.*; 1 more failed, see the log\.$"):
        list(model.stream(photos))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_results_of_a_list_are_not_lost_by_one_image(model, photos, picture, batch_size):
    (photos / "a_broken.png").write_bytes(b"no picture")
    source = ["nowhere.png", photos / "a_broken.png", photos / "a.png", 3, picture]
    with pytest.raises(FailedImagesError, match=r"'nowhere\.png' does not exist") as caught:
        model.predict(source, batch_size=batch_size)
    assert [result.name for result in caught.value.results] == ["a", "image_5"]
    sentences = [*caught.value.failures.items()]
    expected = ["nowhere.png", str(photos / "a_broken.png"), "Image 4"]
    assert [where for where, _ in sentences] == expected
    assert "cannot be decoded" in sentences[1][1] and "Image 4 is a int" in sentences[2][1]
    again = pickle.loads(pickle.dumps(caught.value.__class__("text", {"a": "b"})))
    assert (str(again), again.failures) == ("text", {"a": "b"})


@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("error", [NotFiniteError("NaN in it."), RuntimeError("out of memory")])
def test_an_image_that_the_model_cannot_take_does_not_end_the_others(
    model, photos, picture, monkeypatch, caplog, batch_size, error
):
    predict_batch = model._predictor.predict_batch

    def failing(images):
        if any(image.shape[1] == 40 for image in images):
            raise error
        return predict_batch(images)

    monkeypatch.setattr(model._predictor, "predict_batch", failing)
    Image.fromarray(picture).save(photos / "c.png")
    results, names = model.predict(photos, batch_size=batch_size), []
    with pytest.raises(FailedImagesError, match=str(error)) as caught:
        names += (result.name for result in results)
    assert names == ["a", "c"]
    assert [*caught.value.failures] == [str(photos / "b.png")]
    assert str(photos / "b.png") in str(caught.value)
    is_a_bug = isinstance(error, RuntimeError)
    assert ("Traceback" in caplog.text) is is_a_bug, "bugs keep their traceback"
    with pytest.raises(type(error)):
        model.predict(photos / "b.png")


def test_the_frames_of_a_video(model, tmp_path, picture):
    with write_video(tmp_path / "walk.mp4", 5) as video:
        for _ in range(3):
            video.add(picture)
    found = list(model.predict(tmp_path / "walk.mp4", batch_size=2))
    assert [result.name for result in found] == [f"walk_{n:06d}" for n in range(3)]
    assert {ids(result).shape for result in found} == {(50, 70)}


def test_an_iterator_is_read_when_results_are(model, picture):
    def camera():
        yield picture
        raise RuntimeError("the camera was unplugged")

    results = model.predict(camera())
    assert ids(next(results)).shape == (50, 70)
    with pytest.raises(RuntimeError, match="unplugged"):
        next(results)


def test_a_batch_of_equal_sizes_changes_nothing(model, picture):
    images = [picture, picture[::-1], picture[:, ::-1]]
    together = model.predict(images, batch_size=2)
    for image, found in zip(images, together, strict=True):
        np.testing.assert_array_equal(ids(found), ids(model.predict(image)))
    sizes = model.predict([picture, picture[:30]], batch_size=2)
    assert [ids(result).shape for result in sizes] == [(50, 70), (30, 70)]
    with pytest.raises(UserError, match="batch_size is 0"):
        model.predict(images, batch_size=0)


def test_long_inputs_show_their_progress(model, picture, capsys):
    model.predict([picture] * 3, progress=True)
    assert re.search(r"predict: 100%.* 3/3", capsys.readouterr().err)
    model.predict(picture, progress=True)
    model.predict([picture] * 2)
    assert capsys.readouterr().err == "", "pytest is no terminal"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere.jpg", r"'nowhere\.jpg' does not exist"),
        ("https://example.org/a.jpg", "is an address: download the file"),
        (["nowhere.jpg"], r"'nowhere\.jpg' does not exist"),
        ([np.zeros((4, 4), np.uint8), 3], "Image 2 is a int"),
        (None, "The image is a NoneType"),
    ],
)
def test_what_shows_nothing(model, source, sentence):
    with pytest.raises(UserError, match=sentence):
        model.predict(source)
