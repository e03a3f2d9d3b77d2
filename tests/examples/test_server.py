"""The example of a server, with a model in place of an exported file."""

import base64
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2_psformer.deployment.postprocessing import Result

FOLDER = Path(__file__).parents[2] / "examples" / "server"
SEGMENT = {
    "id": 300, "class_name": "box", "category_id": 7, "class_index": 1, "isthing": True,
    "score": 0.5, "area": 20, "box": [0, 0, 5, 4],
}  # fmt: skip


class FakeModel:
    """Finds one box in the upper left corner."""

    settings = {"architecture": "Fake", "categories": [{"name": "ball"}, {"name": "box"}]}  # noqa: RUF012

    def __call__(self, pixels: np.ndarray) -> Result:
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
        ids = np.zeros(pixels.shape[:2], np.int32)
        ids[:4, :5] = 300
        return Result(ids, [SEGMENT], None)


def module(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def http():
    pytest.importorskip("fastapi")
    pytest.importorskip("python_multipart")
    pytest.importorskip("httpx")
    from fastapi.testclient import TestClient

    return TestClient(module("server").create_app(FakeModel()))


def encoded(mode: str = "RGB", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (12, 9)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_segments_and_their_ids_come_back(http, mode):
    answer = http.post("/segment", files={"image": ("a.png", encoded(mode))})
    assert answer.status_code == 200
    content = answer.json()
    assert (content["width"], content["height"]) == (12, 9)
    assert content["segments"] == [SEGMENT]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(content["ids_png"]))), np.int32)
    ids = picture @ (1, 256, 65536)
    assert (ids[:4, :5] == 300).all() and (ids == 0).sum() == 12 * 9 - 20


def test_what_is_no_image_is_refused_in_a_sentence(http):
    answer = http.post("/segment", files={"image": ("notes.txt", b"no image")})
    assert answer.status_code == 400
    assert "Image 'notes.txt' cannot be decoded" in answer.json()["detail"]
    assert http.post("/segment").status_code == 422
    answer = http.post("/segment", files={"image": ("depth.tif", encoded("F", "TIFF"))})
    assert answer.status_code == 400
    assert "Image 'depth.tif' has floating-point values" in answer.json()["detail"]


def test_the_server_says_what_it_serves(http):
    answer = http.get("/health").json()
    assert answer == {"architecture": "Fake", "classes": ["ball", "box"]}


def test_the_client_writes_what_the_server_finds(http, tmp_path, monkeypatch, capsys):
    client = module("client")

    class Answer(io.BytesIO):
        pass

    def urlopen(request, timeout):
        sent = http.post(
            request.full_url.removeprefix("http://localhost:8000"),
            content=request.data,
            headers=dict(request.header_items()),
        )
        if sent.status_code != 200:
            body = io.BytesIO(sent.content)
            raise client.urllib.error.HTTPError(request.full_url, sent.status_code, "", {}, body)
        return Answer(sent.content)

    monkeypatch.setattr(client.urllib.request, "urlopen", urlopen)
    (tmp_path / "photo.png").write_bytes(encoded())
    (tmp_path / "notes.txt").write_bytes(b"no image")
    paths = [str(tmp_path / name) for name in ("photo.png", "notes.txt", "missing.png")]
    assert client.main([*paths, "--output", str(tmp_path / "found")]) == 1
    told = capsys.readouterr()
    assert "photo.png: box" in told.out
    assert "'notes.txt' cannot be decoded" in told.err and "missing.png" in told.err
    assert {p.name for p in (tmp_path / "found").iterdir()} == {
        "photo_segments.json",
        "photo_ids.png",
    }


def test_the_images_for_docker_copy_files_that_exist():
    root = FOLDER.parents[1]
    for name in ("Dockerfile", "Dockerfile.cuda"):
        lines = (FOLDER / name).read_text().splitlines()
        sources = [line.split()[1] for line in lines if line.startswith("COPY")]
        assert len(sources) == 2 and all((root / source).exists() for source in sources)
        assert [line for line in lines if line.startswith("FROM")]
