"""Files, folders and patterns on the command line."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.utils.errors import UserError
from d2_psformer.visualization import find_inputs
from d2_psformer.visualization.inputs import _unique_stems


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.jpg", "a.PNG", "clip.mp4", "notes.txt", "deep/c.webp", "deep/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(inputs) -> list[str]:
    return [item.path.name for item in inputs]


def test_folder(folder):
    inputs = find_inputs([str(folder)])
    assert names(inputs) == ["a.PNG", "b.jpg", "clip.mp4"]
    assert [item.is_video for item in inputs] == [False, False, True]


def test_patterns(folder):
    assert names(find_inputs([f"{folder}/*.jpg"])) == ["b.jpg"]
    assert sorted(names(find_inputs([f"{folder}/**/*.jpg"]))) == ["b.jpg", "b.jpg"]
    assert names(find_inputs([f"{folder}/[ab].*"])) == ["a.PNG", "b.jpg"]


def test_a_file_is_taken_whatever_its_extension_and_only_once(folder):
    inputs = find_inputs([f"{folder}/notes.txt", f"{folder}/b.jpg", str(folder)])
    assert names(inputs) == ["notes.txt", "b.jpg", "a.PNG", "clip.mp4"]


def test_one_file_under_two_paths_is_taken_once(folder, monkeypatch):
    monkeypatch.chdir(folder / "deep")
    assert len(find_inputs(["b.jpg", "./b.jpg", "../deep/b.jpg", f"{folder}/deep/b.jpg"])) == 1


def test_names_that_macos_takes_for_one_get_numbers(folder):
    names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for name in names:
        (folder / "deep" / name).touch()
    inputs = find_inputs([f"{folder}/deep/{name}" for name in names])
    assert [unicodedata.normalize("NFC", item.name) for item in inputs] == ["é", "é_2"]


def test_brackets_in_a_real_name_are_no_pattern(folder):
    (folder / "shot [1].jpg").touch()
    assert names(find_inputs([f"{folder}/shot [1].jpg"])) == ["shot [1].jpg"]


def test_equal_stems_get_numbers(folder):
    inputs = find_inputs([f"{folder}/b.jpg", f"{folder}/deep/b.jpg", f"{folder}/deep/c.webp"])
    assert [item.name for item in inputs] == ["b", "b_2", "c"]


@given(
    st.lists(st.sampled_from(["a", "A", "a_2", "a_2_2", "a_3", "b", "é", "e\u0301"]), max_size=8)
)
def test_names_never_meet(stems):
    paths = [Path(f"{i}/{stem}.jpg") for i, stem in enumerate(stems)]
    found = _unique_stems(paths)
    assert len({name.lower() for name in found}) == len(stems)
    assert all(name.startswith(stem) for name, stem in zip(found, stems, strict=True))


@pytest.mark.parametrize("missing", ["nothing.jpg", f"{'a' * 300}.jpg"])
def test_missing(folder, missing):
    with pytest.raises(UserError, match=r"does not exist"):
        find_inputs([f"{folder}/{missing}"])
    assert names(find_inputs([f"{folder}/{missing}", f"{folder}/b.jpg"])) == [missing, "b.jpg"]


def test_a_pattern_that_fits_nothing(folder):
    with pytest.raises(UserError, match=r"none/\*\.jpg' fits no file"):
        find_inputs([f"{folder}/none/*.jpg", f"{folder}/b.jpg"])


def test_folder_without_images(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty' has no image and no video"):
        find_inputs([f"{folder}/empty"])
