"""Panoptic quality of files as a whole process: ours beside hotcoco and panopticapi."""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.data import write_panoptic_png

ROOT = Path(__file__).parents[2]
_CODE = {
    "ours": "from d2_psformer.cli.main import main\n"
    "main(['evaluate', '--ground-truth', sys.argv[1], '--predictions', sys.argv[2],"
    " '--ground-truth-folder', sys.argv[3]])",
    "hotcoco": "from hotcoco.panoptic import pq_compute; pq_compute(*sys.argv[1:4])",
    "panopticapi": "from panopticapi.evaluation import pq_compute; pq_compute(*sys.argv[1:4])",
}
# Linux's; that of getrusage begins with the parent's.
_PEAK = "print(next(row for row in open('/proc/self/status') if row.startswith('VmHWM')))"


def measure_files(dataset_name: str, predictions: Sequence, folder: Path, rounds: int) -> list:
    """One row for each program, which take turns; start of Python and imports are included.

    Raises:
        ValueError: the tables of two programs differ.
    """
    truth = MetadataCatalog.get(dataset_name)
    content = json.loads(Path(truth.panoptic_json).read_text())
    kept = {key: content[key] for key in ("images", "annotations", "categories")}
    json_file = folder / "truth.json"  # hotcoco does not take any "info"
    json_file.write_text(json.dumps(kept))
    predicted = write_predictions(dataset_name, predictions, folder)
    arguments = [str(json_file), predicted, truth.panoptic_root]
    kinds = [k for k in _CODE if k == "ours" or importlib.util.find_spec(k)]
    runs = {kind: [] for kind in kinds}
    for _ in range(rounds + 1):  # the first round fills the caches
        for kind in kinds:
            runs[kind].append(_run(_CODE[kind], arguments))
    tables = {kind: runs[kind][0][0] for kind in kinds}
    if len(set(tables.values())) > 1:
        raise ValueError(f"The programs give different figures: {tables}.")
    rows = []
    for kind in kinds:
        seconds, cpu, memory = (
            statistics.median(values) for values in list(zip(*runs[kind][1:], strict=True))[1:]
        )
        ours = statistics.median(run[1] for run in runs["ours"][1:])
        row = {"evaluator": f"files, {kind}", "PQ": tables[kind]}
        row |= {
            "median ms an image": 1e3 * seconds / len(predictions),
            "times ours": seconds / ours,
        }
        rows.append({**row, "CPU ms an image": 1e3 * cpu / len(predictions), "peak MB": memory})
    return rows


def write_predictions(dataset_name: str, predictions: Sequence, folder: Path) -> str:
    """Write predictions as evaluators take them in COCO's format; returns the path of the JSON."""
    metadata, annotations = MetadataCatalog.get(dataset_name), []
    ids = {i: c for c, i in metadata.stuff_dataset_id_to_contiguous_id.items()}
    for record, output in predictions:
        panoptic, segments = output["panoptic_seg"]
        name = Path(record["pan_seg_file_name"]).name
        write_panoptic_png(folder / "predictions" / name, panoptic.numpy())
        areas = dict(zip(*(v.tolist() for v in panoptic.unique(return_counts=True)), strict=True))
        listed = [
            {"id": s["id"], "category_id": ids[s["category_id"]], "area": areas[s["id"]]}
            for s in segments
            if s["id"] in areas
        ]
        entry = {"image_id": record["image_id"], "file_name": name, "segments_info": listed}
        annotations.append(entry)
    path = folder / "predictions.json"
    path.write_text(json.dumps({"annotations": annotations}))
    return str(path)


def _run(code: str, arguments: Sequence[str]) -> tuple[float, float, float, float]:
    """PQ in percent as printed, seconds, seconds of all cores, and the peak of memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\n{code}\n{_PEAK}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed, errors = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{code} failed: {errors}")
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line}
    peak = int(rows["VmHWM:"][1]) / 1024
    return float(rows["All"][2]), seconds, usage.ru_utime + usage.ru_stime, peak
