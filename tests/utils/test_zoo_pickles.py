"""Pickles of Detectron2's model zoo hold arrays; no function that a pickle names is run."""

import os
import pickle
import struct

import numpy as np
import pytest
import torch
from torch import nn

from d2_psformer.d2 import BACKEND
from d2_psformer.d2.checkpoint import DetectionCheckpointer
from d2_psformer.d2lite import checkpoint as d2lite
from d2_psformer.engine import AtomicCheckpointer
from d2_psformer.utils.errors import UserError
from d2_psformer.utils.zoo_pickles import read_zoo_pickle


def load_atomically(model, path):
    AtomicCheckpointer(model, metadata={"name": "any"}).load(path)


LOADERS = {
    "ours": load_atomically,
    "facade": lambda model, path: DetectionCheckpointer(model).load(path),
    "d2lite": lambda model, path: d2lite.DetectionCheckpointer(model).load(path),
}
loaders = pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)


def zoo_file(folder, weight, protocol=2, **others) -> str:
    content = {"model": {"weight": weight, "bias": np.zeros(2, np.float32)}, "__author__": "me"}
    path = folder / "zoo.pkl"
    path.write_bytes(pickle.dumps({**content, **others}, protocol))
    return str(path)


@loaders
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_arrays_are_loaded(tmp_path, load, protocol):
    model = nn.Linear(3, 2)
    load(model, zoo_file(tmp_path, np.ones((2, 3), np.float32), protocol))
    assert torch.equal(model.weight, torch.ones(2, 3)) and not model.bias.any()


ARRAYS = {
    **{name: np.arange(6).reshape(2, 3).astype(name) for name in ("f2", "f8", "i1", "u4", "b1")},
    "of another machine": np.arange(6, dtype=">f4").reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "axes exchanged": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "every second": np.arange(6)[::2],
    "empty": np.zeros((0, 3)),
    "no axis": np.array(1.5),
    "a scalar": np.float32(1.5),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_every_plain_array_comes_back(tmp_path, array, protocol):
    read = read_zoo_pickle(zoo_file(tmp_path, array, protocol, matching_heuristics=True))
    weight = read["model"]["weight"]
    expected = array.astype(array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(weight, expected, strict=True)
    assert weight.flags.writeable and weight.dtype.isnative
    assert (read["__author__"], read["matching_heuristics"]) == ("me", True)


def test_one_array_under_two_names(tmp_path):
    weight = np.arange(1000.0)
    read = read_zoo_pickle(zoo_file(tmp_path, weight, model={"a": weight, "b": weight}))["model"]
    np.testing.assert_array_equal(read["a"], read["b"])


def text_of_python_2(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


# {"blobs": {"conv1_w": [1, -2] as float32}}
OF_CAFFE2 = (
    b"\x80\x02}" + text_of_python_2(b"blobs") + b"}" + text_of_python_2(b"conv1_w")
    + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    + text_of_python_2(b"b") + b"\x87R(K\x01K\x02\x85cnumpy\ndtype\n"
    + text_of_python_2(b"f4") + b"K\x00K\x01\x87R(K\x03" + text_of_python_2(b"<")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    + text_of_python_2(struct.pack("<2f", 1, -2)) + b"tbss."
)  # fmt: skip


def test_files_of_python_2_and_caffe2(tmp_path):
    expected = pickle.loads(OF_CAFFE2, encoding="latin1")["blobs"]
    path = tmp_path / "caffe2.pkl"
    path.write_bytes(OF_CAFFE2)
    read = read_zoo_pickle(str(path))
    np.testing.assert_array_equal(read["model"]["conv1_w"], expected["conv1_w"], strict=True)
    assert (read["__author__"], read["matching_heuristics"]) == ("Caffe2", True)
    with pytest.raises(ValueError, match=r"caffe2\.pkl' has names of layers that only Detectron2"):
        d2lite.DetectionCheckpointer(nn.Linear(3, 2)).load(str(path))


@pytest.mark.skipif(BACKEND != "detectron2", reason="needs Detectron2")
def test_detectron2_still_renames_the_layers_of_caffe2(tmp_path):
    weights = {"conv1_w": np.ones((4, 3, 1, 1), np.float32), "conv1_w_momentum": np.zeros(1)}
    (tmp_path / "caffe2.pkl").write_bytes(pickle.dumps({"blobs": weights, "cfg": "a text"}))
    model = nn.ModuleDict({"stem": nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 1)})})
    load_atomically(model, str(tmp_path / "caffe2.pkl"))
    assert (model["stem"]["conv1"].weight == 1).all()


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def refusal(load, path) -> str:
    with pytest.raises(ValueError, match=r"zoo\.pkl' cannot be read safely: ") as caught:
        load(nn.Linear(3, 2), path)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return message


@loaders
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", ["at the top", "beside the weights", "as a weight", "in a dtype"])
def test_code_is_refused_and_not_run(tmp_path, load, place, protocol):
    harmful = Harmful(tmp_path / "made")
    path = zoo_file(tmp_path, harmful, protocol)
    if place == "at the top":
        (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(harmful, protocol))
    elif place == "beside the weights":
        path = zoo_file(tmp_path, np.ones((2, 3)), protocol, optimizer=[{"state": harmful}])
    elif place == "in a dtype":
        path = zoo_file(tmp_path, np.array([harmful], object), protocol)
    message = refusal(load, path)
    assert ".mkdir', which could run code" in message or "'O8'" in message
    assert not (tmp_path / "made").exists()


REFUSED = {
    "objects": ({"weight": np.array([None, 1], object)}, "an array of 'O8'"),
    "fields": ({"weight": np.zeros(2, [("a", "f4"), ("b", "i8")])}, "an array of 'V12'"),
    "parts": ({"weight": np.zeros(2, [("a", "f4", (2, 2))])}, "an array of 'V16'"),
    "text": ({"weight": np.array(["a", "bc"])}, "an array of 'U2'"),
    "bytes": ({"weight": np.array([b"a"])}, "an array of 'S1'"),
    "dates": ({"weight": np.array(["2020-01-01"], "M8[D]")}, "an array of 'M8'"),
    "no array": ({"weight": [1.0, 2.0]}, "'weight' is no array"),
    "number as name": ({3: np.ones(2)}, "the name 3 of a weight is no text"),
    "nothing": (None, "damaged"),
}


@pytest.mark.parametrize(("model", "words"), REFUSED.values(), ids=REFUSED)
def test_other_things_than_plain_arrays_are_refused(tmp_path, model, words):
    path = zoo_file(tmp_path, 0, 4, model=model)
    for load in LOADERS.values():
        assert words in refusal(load, path)


@pytest.mark.parametrize("author", [b"me", 3, None, np.ones(2)])
def test_the_author_is_text(tmp_path, author):
    path = zoo_file(tmp_path, np.ones((2, 3)), 4, __author__=author)
    for load in LOADERS.values():
        assert "its '__author__' is no text" in refusal(load, path)


@pytest.mark.parametrize("content", [[1], "text", np.ones(2), {"model": 1}, {"cfg": "text"}, 5])
def test_no_named_weights(tmp_path, content):
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps(content))
    refusal(LOADERS["ours"], str(path))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_shapes_that_do_not_fit_their_bytes_are_refused(tmp_path, protocol):
    path = tmp_path / "zoo.pkl"
    whole = zoo_file(tmp_path, np.ones((77, 3), np.float32), protocol)
    content = path.read_bytes()
    assert content.count(b"K\x4d") == 1  # the 77
    path.write_bytes(content.replace(b"K\x4d", b"K\xff"))
    assert "damaged" in refusal(LOADERS["ours"], whole)


def test_a_state_for_a_type_cannot_make_it_another(tmp_path):
    """The byte order 'f4,' with the type 'f4' would be two fields."""
    path = zoo_file(tmp_path, np.ones((2, 3), np.float32), 2)
    content = (tmp_path / "zoo.pkl").read_bytes()
    order = b"X\x01\x00\x00\x00<"
    assert order in content
    (tmp_path / "zoo.pkl").write_bytes(content.replace(order, b"X\x03\x00\x00\x00f4,", 1))
    assert "other things than plain numbers" in refusal(LOADERS["ours"], path)


@pytest.mark.parametrize("protocol", [2, 5])
def test_damaged_files_are_refused_or_read(tmp_path, protocol):
    path = zoo_file(tmp_path, np.ones((2, 3), np.float32), protocol)
    whole = (tmp_path / "zoo.pkl").read_bytes()
    rng = np.random.default_rng(0)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] = rng.integers(256)
        for content in (whole[:position], bytes(changed)):
            (tmp_path / "zoo.pkl").write_bytes(content)
            try:
                read = read_zoo_pickle(path)
            except ValueError as error:
                assert "zoo.pkl' cannot be read safely" in str(error)
            else:
                assert all(isinstance(x, np.ndarray) for x in read["model"].values())


class _Sharing:
    """Pickled, an array of bytes that may be those of another one."""

    def __init__(self, data: bytes):
        self.data = data

    def __reduce__(self):
        dtype = np.dtype("f4")
        state = (1, (len(self.data) // 4,), dtype, False, self.data)
        return np.zeros(0, "f4").__reduce__()[0], (np.ndarray, (0,), b"b"), state


def test_arrays_that_share_their_bytes_do_not_fill_the_memory(tmp_path):
    path, data = tmp_path / "zoo.pkl", bytes(1_000_000)
    weights = {str(number): _Sharing(data) for number in range(1000)}
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "me"}, 4))
    assert path.stat().st_size < 2_000_000
    with pytest.raises(UserError, match="share their numbers and are larger than the file"):
        read_zoo_pickle(str(path))
