"""The snippets of docs/api.md run, one after the other, as they stand there."""

import re
from pathlib import Path

import pytest
from PIL import Image

from d2_psformer.data.description import add_to_data_yaml
from d2_psformer.data.scenes import ScenesSpec, generate_scene, write_scenes

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.slow
def test_the_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(generate_scene(20_000_001)[0]).save("photo.jpg")
    Path("photos").mkdir()
    Image.open("photo.jpg").save("photos/1.png")
    write_scenes("mine", ScenesSpec(train=2, val=1, size=64))
    for split in ("train", "val"):
        files = [f"mine/{name}" for name in (split, f"panoptic_{split}.json", f"panoptic_{split}")]
        add_to_data_yaml("mine", f"mine_{split}", files, training=split == "train")

    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    for snippet in snippets:
        if "hf:" not in snippet:
            exec(snippet.replace('ITER": 2000', 'ITER": 1, "SOLVER.IMS_PER_BATCH": 2'), names)
    assert Image.open("overlay.png").size == (640, 640)
    assert Path("segmented/1_segments.json").is_file()
    first, again = (r["panoptic_seg"] for r in (names["model"].results, names["figures"]))
    assert again == pytest.approx(first, nan_ok=True)
