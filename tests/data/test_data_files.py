import json

import pytest

from d2_psformer.data.files import FolderIndex, atomic_write, read_json, write_json


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_write(path, "w") as file:
        file.write("half of it")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_json_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.json' does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"bad.json' is not valid JSON"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"bad.json' is not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_folder_index_prefers_the_exact_name(tmp_path):
    for name in ("a.jpg", "b.JPEG", "sub/c.png", "sub/d.png", "other/d.png", "b.txt", "sub/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    index = FolderIndex(tmp_path)

    def found(name):
        path = index.find(name, (".jpg", ".jpeg", ".png"))
        return path and path.removeprefix(f"{tmp_path}/")

    assert found("a.jpg") == "a.jpg"
    assert found("sub/a.jpg") == "sub/a.jpg"
    assert found("b.png") == "b.JPEG"
    assert found("c.png") == found("./sub/c.png") == found("c.jpg") == "sub/c.png"
    assert found("other/d.png") == "other/d.png"
    assert found("e.jpg") is None
    with pytest.raises(ValueError, match=r"'d.png' could be '.*d.png' or '.*d.png'"):
        found("d.png")
    with pytest.raises(FileNotFoundError, match="nowhere' does not exist"):
        FolderIndex(tmp_path / "nowhere")
