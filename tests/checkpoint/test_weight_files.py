"""Reading weight files of any origin."""

import copy
import json
import os
import pickle
import tarfile
import zipfile

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

from d2_psformer.checkpoint import read_checkpoint
from d2_psformer.utils.errors import UserError

WEIGHTS = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}
OTHER = {"c": torch.ones(1)}
SECOND = "model-00002-of-00002.safetensors"


class Payload:
    """An object that plain loading must refuse."""


def prefixed(prefix: str) -> dict:
    return {prefix + key: value for key, value in WEIGHTS.items()}


def saved(folder, content) -> str:
    torch.save(content, folder / "weights.pth")
    return str(folder / "weights.pth")


def assert_loads(path: str, **others) -> None:
    loaded = read_checkpoint(path)
    assert loaded.keys() == {"model", *others}
    assert {key: loaded[key] for key in others} == others
    assert loaded["model"].keys() == WEIGHTS.keys()
    assert all(torch.equal(loaded["model"][key], value) for key, value in WEIGHTS.items())


@pytest.mark.parametrize(
    ("content", "others"),
    [
        (WEIGHTS, {}),
        ({"epoch": 3, **WEIGHTS}, {}),
        ({"model": WEIGHTS, "iteration": 3}, {"iteration": 3}),
        ({"state_dict": WEIGHTS, "meta": {"epoch": 24}}, {"meta": {"epoch": 24}}),
        ({"model": {"state_dict": WEIGHTS, "n": 1}, "epoch": 3}, {"epoch": 3, "n": 1}),
        ({"model_state_dict": WEIGHTS}, {}),
    ],
)
def test_wrappers_are_taken_off(tmp_path, content, others):
    assert_loads(saved(tmp_path, content), **others)


def test_archives_are_to_be_unpacked(tmp_path):
    path = tmp_path / "max_deeplab_s_os16.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(__file__, "ckpt-1.index")
    with pytest.raises(UserError, match=r"s_os16.tar.gz' is an archive: unpack it, .* in .index"):
        read_checkpoint(str(path))


@pytest.mark.parametrize("name", ["ckpt-100", "ckpt-100.data-00000-of-00001"])
def test_other_parts_of_a_checkpoint_of_tensorflow(tmp_path, name):
    for suffix in (".index", ".data-00000-of-00001"):
        (tmp_path / f"ckpt-100{suffix}").write_bytes(b"")
    with pytest.raises(UserError, match=rf"{name}' is a part of .*: give '.*ckpt-100.index'"):
        read_checkpoint(str(tmp_path / name))


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.model.module."]
)
def test_prefixes_are_taken_off(tmp_path, prefix):
    assert_loads(saved(tmp_path, {"state_dict": prefixed(prefix)}))


def test_compiled_parts_have_plain_names(tmp_path):
    weights = {"backbone._orig_mod.a": torch.ones(1), "head.b": torch.ones(1)}
    assert read_checkpoint(saved(tmp_path, weights))["model"].keys() == {"backbone.a", "head.b"}


def test_a_part_named_model_stays(tmp_path):
    weights = {"model.a": torch.ones(1), "head.b": torch.ones(1)}
    assert read_checkpoint(saved(tmp_path, weights))["model"].keys() == weights.keys()


def test_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(prefixed("model."), path)
    assert_loads(str(path))


def write_index(folder, weights: dict) -> str:
    """The index of a checkpoint with each tensor in a file of its own, as transformers saves it."""
    save_torch_state_dict(weights, folder, max_shard_size=1)
    return str(folder / "model.safetensors.index.json")


def test_several_files_with_an_index(tmp_path):
    assert_loads(write_index(tmp_path, prefixed("model.")))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda folder: (folder / SECOND).unlink(),
            f"lists '{SECOND}', which is no file beside it",
        ),
        (lambda folder: save_file(OTHER, folder / SECOND), f"lists 'a.*', which '{SECOND}' does"),
        (lambda folder: write_json(folder, {"a.bias": 3}), "has no 'weight_map'"),
        (lambda folder: write_json(folder, []), "has no 'weight_map'"),
    ],
)
def test_an_index_without_a_file_or_tensor(tmp_path, damage, sentence):
    path = write_index(tmp_path, WEIGHTS)
    damage(tmp_path)
    with pytest.raises(UserError, match=sentence):
        read_checkpoint(path)


def write_json(folder, content) -> str:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("where", ["relative", "absolute"])
def test_an_index_lists_files_beside_it_alone(tmp_path, where):
    (tmp_path / "inner").mkdir()
    save_file(WEIGHTS, tmp_path / "outside.safetensors")
    name = os.path.join(".." if where == "relative" else tmp_path, "outside.safetensors")
    path = write_json(tmp_path / "inner", {"weight_map": dict.fromkeys(WEIGHTS, name)})
    expect_refusal(path, "lists '.*, which is no file beside it")


def test_an_index_that_lists_itself(tmp_path):
    name = "model.safetensors.index.json"
    expect_refusal(write_json(tmp_path, {"weight_map": {"a": name}}), "cannot be read")
    expect_refusal(str(tmp_path / f"missing.{name}"), "Checkpoint '.*' does not exist")


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2)])
def test_an_index_of_a_file_without_named_tensors(tmp_path, content):
    saved(tmp_path, content)
    path = write_json(tmp_path, {"weight_map": {"a": "weights.pth"}})
    with pytest.raises(UserError, match=r"weights\.pth' holds no named tensors"):
        read_checkpoint(path)


def zoo_file(folder, **others) -> str:
    """A file in the form of Detectron2's model zoos: arrays, and who made it."""
    arrays = {key: value.numpy() for key, value in WEIGHTS.items()}
    path = folder / "weights.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "me", **others}))
    return str(path)


def test_model_zoo_pickle(tmp_path):
    assert_loads(zoo_file(tmp_path), __author__="me", matching_heuristics=False)


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("trust", [False, True])
def test_code_in_a_model_zoo_pickle_is_never_run(tmp_path, trust):
    path = zoo_file(tmp_path, optimizer=Harmful(tmp_path / "made"))
    with pytest.raises(UserError, match=r"weights\.pkl' cannot be read safely: .*could run code"):
        read_checkpoint(path, trust=trust)
    assert not (tmp_path / "made").exists()


def expect_refusal(path: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read_checkpoint(path)
    assert path in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    expect_refusal(str(tmp_path / "nothing.pth"), "does not exist")


@pytest.mark.parametrize("name", ["weights.pth", "weights.pkl", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"<html>404: not found</html>" * 20])
def test_a_damaged_file_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    expect_refusal(str(path), "cannot be read")


def test_a_cut_file_is_named(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    expect_refusal(str(path), "cannot be read")


def test_python_objects_are_refused_unless_trusted(tmp_path):
    path = saved(tmp_path, {"state_dict": WEIGHTS, "meta": Payload()})
    expect_refusal(path, r"Python objects.*--trust")
    assert read_checkpoint(path, trust=True)["model"].keys() == WEIGHTS.keys()


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        torch.ones(3),
        None,
        {},
        {"epoch": 3},
        {"model": 3},
        {"model": {}},
        {1: torch.ones(2)},
    ],
)
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    expect_refusal(saved(tmp_path, content), "holds no named tensors")


def test_a_dict_that_holds_itself(tmp_path):
    content = {"a": 1}
    content["model"] = content
    expect_refusal(saved(tmp_path, content), "holds no named tensors")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn])
def test_tensors_of_other_numbers_are_named(tmp_path, dtype):
    path = saved(tmp_path, {"a": torch.ones(2, 3), "b": torch.ones(2).to(dtype)})
    expect_refusal(path, "cannot be read|'b' of .* is no tensor of plain numbers")


@pytest.mark.parametrize("name", ["a\nb", "x" * 501])
def test_names_that_no_sentence_can_show(tmp_path, name):
    expect_refusal(saved(tmp_path, {name: torch.ones(2)}), "has a tensor named")


def test_sparse_tensors_are_refused_before_they_are_made(tmp_path):
    path = saved(tmp_path, {"a": torch.ones(2), "b": torch.eye(3).to_sparse()})
    expect_refusal(path, r"it holds 'torch\._utils\._rebuild_sparse_tensor'")


def rewritten(path: str, change) -> None:
    """Change the parts of a file of torch; their checksums are right."""
    with zipfile.ZipFile(path) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts:
            archive.writestr(name, change(name, content))


def test_a_part_that_is_smaller_than_the_file_says(tmp_path):
    """Older versions of torch read the memory behind it."""
    path = saved(tmp_path, {"a": torch.zeros(200)})
    rewritten(path, lambda name, content: content[:16] if "/data/" in name else content)
    expect_refusal(path, "cannot be read: it is damaged")


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("compressed", ["data.pkl", "data/0"])
def test_compressed_parts_are_not_unpacked(tmp_path, compressed, trust):
    """A file of a megabyte could fill the memory."""
    path = saved(tmp_path, {"a": torch.zeros(200)})
    with zipfile.ZipFile(path) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts:
            kind = zipfile.ZIP_DEFLATED if name.endswith(compressed) else zipfile.ZIP_STORED
            archive.writestr(name, content, kind)
    with pytest.raises(UserError, match=r"weights\.pth' has compressed or overlapping parts"):
        read_checkpoint(path, trust)


def test_parts_that_share_their_bytes_are_refused(tmp_path):
    """A million names of the same megabyte would be a terabyte."""
    path = saved(tmp_path, {"a": torch.zeros(2000)})
    with zipfile.ZipFile(path, "a") as archive:
        one = archive.getinfo("weights/data/0")
        for number in range(3):
            again = copy.copy(one)
            again.filename = f"weights/data/{number + 1}"
            archive.filelist.append(again)
        archive.writestr("weights/last", b"")  # the list of parts is written anew
    expect_refusal(path, "has compressed or overlapping parts")


def test_two_parts_of_one_name(tmp_path):
    """One is checked, torch could read the other one."""
    path = saved(tmp_path, WEIGHTS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights/DATA.pkl", b"")
    expect_refusal(path, "cannot be read: it is damaged")


def test_a_file_of_older_torch(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"model": WEIGHTS, "n": 1}, path, _use_new_zipfile_serialization=False)
    assert_loads(str(path), n=1)


@pytest.mark.parametrize(
    "entry",
    [
        {"thing_classes": [1]},
        {"stuff_classes": ["a"], "name": 3},
        {"thing_classes": ["a"], "thing_dataset_id_to_contiguous_id": {1: 0, 2: 2}},
    ],
)
def test_classes_that_cannot_be_used(tmp_path, entry):
    path = saved(tmp_path, {"model": WEIGHTS, "metadata": {"name": "a", **entry}})
    expect_refusal(path, "The classes in checkpoint .* cannot be used")
