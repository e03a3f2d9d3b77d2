"""Annotation of other programs with wrong values and damaged texts, read by the converters."""

import json
import shutil
from pathlib import Path

import annotation_files as write
import numpy as np
import pytest
import yaml
from attack_cases import cases
from attack_values import changed, one_sentence
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.data.converters import Source, convert

SCENE = (np.array([[0, 1, 1], [4, 4, 2]]), {1: "cat", 2: "dog", 4: "sky"})
JSONS = {
    "coco-instances": (write.write_coco, "instances.json"),
    "coco-panoptic": (write.write_panoptic, "panoptic.json"),
    "labelme": (write.write_labelme, "labelme/0.json"),
    "mapillary": (write.write_mapillary, "config_v1.2.json"),
    "yolo": (write.write_yolo, "yolo/data.yaml"),
}
TEXTS = {
    **{kind: JSONS[kind] for kind in ("coco-instances", "labelme", "yolo")},
    "cvat": (write.write_cvat, "annotations.xml"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, tuple[Path, Path, Path]]:
    """By format: the folder, the source, and the file to be damaged."""
    made = {}
    for kind, (writer, name) in {**JSONS, **TEXTS}.items():
        root = tmp_path_factory.mktemp(kind)
        write.write_images(root, [SCENE])
        made[kind] = root, writer(root, [SCENE]), root / name
    return made


def attempt(kind: str, root: Path, path: Path) -> None:
    out = root / "out"
    shutil.rmtree(out, ignore_errors=True)
    more = {"categories": root / "config_v1.2.json"} if kind == "mapillary" else {}
    with one_sentence(root):
        summary = convert(kind, Source(path, images=root / "images", **more), out)
        assert summary.images > 0
        assert (out / "data.yaml").exists()


@pytest.mark.parametrize("kind", JSONS)
@given(st.integers(0, 2**40))
@cases(25)
def test_wrong_values(sources, kind, seed):
    root, path, file = sources[kind]
    sound = file.read_text()
    dump = yaml.safe_dump if kind == "yolo" else json.dumps
    content, _ = changed(yaml.safe_load(sound) if kind == "yolo" else json.loads(sound), seed)
    try:
        file.write_text(dump(content))
        attempt(kind, root, path)
    finally:
        file.write_text(sound)


@pytest.mark.parametrize("kind", [*TEXTS, "yolo lines"])
@given(st.integers(0, 2**40))
@cases(15)
def test_damaged_texts(sources, kind, seed):
    root, path, file = sources[kind.split()[0]]
    file = root / "labels" / "0.txt" if kind == "yolo lines" else file
    sound = file.read_bytes()
    try:
        file.write_bytes(damaged(sound, seed))
        attempt(kind.split()[0], root, path)
    finally:
        file.write_bytes(sound)


def damaged(text: bytes, seed: int) -> bytes:
    """Numbers exchanged for wrong ones, bytes changed, a part left out, or the end cut off."""
    chance = np.random.default_rng(seed)
    numbers = (
        b"nan",
        b"-1",
        b"1e999",
        b"1e300",
        b"99999999999999999999",
        b"",
        b"x",
        b"0x10",
        b"1_0",
    )
    data = bytearray(text)
    for _ in range(chance.choice((1, 1, 2, 3))):
        digits = [place for place, byte in enumerate(data) if 48 <= byte < 58] or [0]
        start, end = np.sort(chance.integers(0, len(data) + 1, 2))
        what = chance.integers(6)
        if what == 0:
            del data[end:]
        elif what == 1:
            del data[start:end]
        elif what == 2:
            data[start : start + 1] = bytes([chance.integers(256)])
        else:
            place = chance.choice(digits)
            data[place : place + 1] = numbers[chance.integers(len(numbers))]
    return bytes(data)
