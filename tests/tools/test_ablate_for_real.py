"""An ablation with the real train_net.py, in its processes."""

import importlib.util
import json
from pathlib import Path

from tiny_model import write_tiny_model

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data.scenes import ScenesSpec, write_scenes

spec = importlib.util.spec_from_file_location(
    "ablate", Path(__file__).parents[2] / "tools" / "ablate.py"
)
ablate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ablate)


def test_with_the_real_train_net(tmp_path):
    """One training of two iterations on generated scenes, and its evaluation."""
    data = tmp_path / "data"
    write_scenes(data, ScenesSpec(train=2, val=2, size=64, level="hard"))
    files = ("{}", "panoptic_{}.json", "panoptic_{}")
    splits = ("train", "val")
    entries = [[f"ablate_{s}", *(str(data / f.format(s)) for f in files)] for s in splits]
    config, _ = write_tiny_model(tmp_path)
    text = config.read_text().replace("toys_train", "ablate_train")
    names = f"DATASETS: {{TEST: [ablate_val], REGISTER: {json.dumps(entries)}, "
    config.write_text(text.replace("DATASETS: {", names))
    (tmp_path / "declared.yaml").write_text("a: {title: A, paper: b, rows: {row: {}}}")
    arguments = ["--config-file", str(config), "--ablations", str(tmp_path / "declared.yaml")]
    arguments += ["--output", str(tmp_path / "out"), "--device", "cpu", "--iterations", "2"]
    arguments += ["--seeds", "5", "--opts", "SOLVER.IMS_PER_BATCH", "2"]
    try:
        assert ablate.main(arguments) == 0
    finally:
        for name, *_ in entries:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    run_folder = tmp_path / "out" / "runs" / "base" / "seed5"
    log = (run_folder / "metrics.json").read_text().splitlines()
    assert json.loads(log[-1])["iteration"] == 1
    figures = run_folder / "evaluations" / "default" / "inference" / "ablate_val" / "metrics.json"
    assert 0 <= json.loads(figures.read_text())["panoptic_seg"]["PQ"] <= 100
