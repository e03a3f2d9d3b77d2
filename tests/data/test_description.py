import pytest
import yaml

from d2_psformer import add_psformer_config
from d2_psformer.d2.config import get_cfg
from d2_psformer.data.description import add_to_data_yaml, read_data_yaml
from d2_psformer.utils.errors import UserError


def test_paths_are_relative_to_the_file_and_read_as_absolute(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    images = str(tmp_path / "photos")
    pngs = str(folder / "panoptic_train")
    add_to_data_yaml(folder, "a_train", [images, f"{pngs}.json", pngs], training=True)
    add_to_data_yaml(folder, "a_val", [images, str(folder / "x"), ["sky", "sea"]], training=False)
    path = add_to_data_yaml(folder, "a_train", [images, f"{pngs}.json", ""], training=True)
    assert yaml.safe_load(path.read_text())["DATASETS"] == {
        "REGISTER": [
            ["a_val", "../photos", "x", ["sky", "sea"]],
            ["a_train", "../photos", "panoptic_train.json", ""],
        ],
        "TRAIN": ["a_train"],
        "TEST": ["a_val"],
    }
    content = read_data_yaml(folder)
    assert content == read_data_yaml(path)
    assert content["DATASETS"]["REGISTER"] == [
        ["a_val", images, str(folder / "x"), ["sky", "sea"]],
        ["a_train", images, f"{pngs}.json", ""],
    ]


def test_it_merges_into_a_config(tmp_path):
    add_to_data_yaml(tmp_path, "a", [str(tmp_path / "i"), str(tmp_path / "a.json")], training=True)
    cfg = get_cfg()
    add_psformer_config(cfg)
    cfg.merge_from_other_cfg(type(cfg)(read_data_yaml(tmp_path)))
    assert cfg.DATASETS.TRAIN == ("a",)
    assert cfg.DATASETS.REGISTER[0][1] == str(tmp_path / "i")


def test_names_in_the_notation_of_configs_are_kept(tmp_path):
    text = 'DATASETS:\n  REGISTER:\n    - [a, i, a.json]\n  TRAIN: ("a",)\nSEED: 3\n'
    (tmp_path / "data.yaml").write_text(text)
    add_to_data_yaml(tmp_path, "b", [str(tmp_path), str(tmp_path / "b.json")], training=True)
    content = read_data_yaml(tmp_path)
    assert (content["DATASETS"]["TRAIN"], content["SEED"]) == (["a", "b"], 3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "does not exist"),
        ("a: [", "is no safe YAML"),
        ("- a", "is no safe YAML of .* pairs"),
        ("names: [a]", "has no list DATASETS.REGISTER"),
        ("DATASETS: {REGISTER: [[a, b]]}", r"has the entry \['a', 'b'\]"),
        ("DATASETS: {REGISTER: [[a, b, 3]]}", r"has the entry"),
    ],
)
def test_other_files_are_refused(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_data_yaml(tmp_path)


def test_the_data_yaml_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [a]")
    with pytest.raises(UserError, match=r"has no list DATASETS\.REGISTER"):
        add_to_data_yaml(tmp_path, "a", [], training=True)
    assert (tmp_path / "data.yaml").read_text() == "names: [a]"
