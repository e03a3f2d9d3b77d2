"""A data set with names that are hard to show, a tiny model, and reports on them."""

import json
from pathlib import Path

from tiny_model import write_tiny_model

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.data.scenes import ScenesSpec, write_scenes

HARMFUL = "<script>document.title='harmed'</script>"
HARMFUL_FILE = "\"><img src=x onerror=document.title='harmed'>{{7*7}}'.png"
ABSENT = "a class that is annotated nowhere"
NAMES = ("report_train", "report_val")


def write_run(root: Path) -> Path:
    """Write scenes, of which one class has a harmful name, and the folder of a training."""
    data, run = root / "data", root / "run"
    write_scenes(data, ScenesSpec(train=3, val=6, size=64))
    entries = []
    for name, split in zip(NAMES, ("train", "val"), strict=True):
        path = data / f"panoptic_{split}.json"
        content = json.loads(path.read_text())
        content["categories"][0]["name"] = HARMFUL
        content["categories"][1]["name"] = "方形 \"'&"
        content["categories"][2]["name"] = "{{7*7}}</textarea></style><svg onload=alert(1)>"
        image = content["images"][0]
        (data / split / image["file_name"]).rename(data / split / HARMFUL_FILE)
        image["file_name"] = HARMFUL_FILE
        content["categories"].append({"id": 99, "name": ABSENT, "isthing": 0})
        path.write_text(json.dumps(content))
        entries.append([name, str(data / split), str(path), str(data / f"panoptic_{split}")])
        register_panoptic(*entries[-1])
    run.mkdir()
    config, checkpoint = write_tiny_model(run, NAMES[0])
    text = config.read_text().replace(
        "DATASETS: {", f"DATASETS: {{TEST: [{NAMES[1]}], REGISTER: {json.dumps(entries)}, "
    )
    (run / "config.yaml").write_text(text)
    checkpoint.rename(run / "model_final.pth")
    lines = [{"iteration": i, "total_loss": 3.0 - i, "panoptic_seg/PQ": 0.0} for i in range(3)]
    (run / "metrics.json").write_text("\n".join(map(json.dumps, lines)))
    return run


def forget() -> None:
    for name in NAMES:
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)
