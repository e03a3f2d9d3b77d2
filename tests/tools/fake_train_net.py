"""A stand-in for train_net.py that writes at once what that leaves, or fails on purpose.

The quality of a training is 50, 10 more with MODEL.BACKBONE.FREEZE_AT 1, plus its seed; an
evaluation with TEST.DETECTIONS_PER_IMAGE 7 finds 20 less. SOLVER.GAMMA 13.0 fails. A training with
TEST.EVAL_PERIOD has half of its quality after half of its iterations.
"""

import json
import sys
from pathlib import Path

arguments = sys.argv[1:]
settings = dict(zip(arguments[3::2], arguments[4::2], strict=True))
folder = Path(settings["OUTPUT_DIR"])
with open(folder / "calls.txt", "a") as calls:
    calls.write(f"{arguments[0]}\n")
if settings.get("SOLVER.GAMMA") == "13.0":
    sys.exit("fake_train_net.py: SOLVER.GAMMA is 13: give another number.\n(more lines)")
if arguments[0] == "--eval-only":
    quality = json.loads(Path(settings["MODEL.WEIGHTS"]).read_text())
    quality -= 20 * (settings.get("TEST.DETECTIONS_PER_IMAGE") == "7")
    target = folder / "inference" / "toy_val" / "metrics.json"
    target.parent.mkdir(parents=True)
    figures = {"PQ": quality, "PQ_th": quality - 10, "PQ_st": quality + 10, "PQ_small": None}
    target.write_text(json.dumps({"panoptic_seg": figures}))
else:
    quality = 50 + 10 * (settings.get("MODEL.BACKBONE.FREEZE_AT") == "1") + int(settings["SEED"])
    (folder / "model_final.pth").write_text(json.dumps(quality))
    if "TEST.EVAL_PERIOD" in settings:
        last = int(settings["SOLVER.MAX_ITER"])
        names = ("PQ", "SQ", "RQ", "PQ_th", "PQ_st")
        with open(folder / "metrics.json", "w") as metrics:
            for iteration, value in ((last // 2, quality / 2), (last, quality)):
                figures = {f"panoptic_seg/{name}": value for name in names}
                metrics.write(json.dumps({"iteration": iteration, **figures}) + "\n")
        (folder / "log.txt").write_text("max_mem: 600M\nmax_mem: 700M\n")
