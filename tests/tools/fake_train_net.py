"""Stands in for train_net.py: writes in an instant what that leaves, and may be told to fail.

The quality of a training is 50 + 10 for each block of the mask decoder for things + its seed, less
20 for pixel-wise merging. MODEL.PSFORMER.NUM_POINTS 13 fails; 14 sleeps until it is ended.
"""

import json
import sys
import time
from pathlib import Path

arguments = sys.argv[1:]
settings = dict(zip(arguments[-2::-2], arguments[-1::-2], strict=False))
folder, name = Path(settings["OUTPUT_DIR"]), "MODEL.PSFORMER."
points = settings.get(f"{name}NUM_POINTS")
with open(folder / "calls.txt", "a") as calls:
    calls.write(f"{arguments[0]}\n")
if points == "13":
    sys.exit("train_net.py: NUM_POINTS is 13: that is bad luck.\n(more lines)")
if "--eval-only" in arguments:
    weights = json.loads(Path(settings["MODEL.WEIGHTS"]).read_text())
    quality = weights["quality"] - 20 * (settings.get(f"{name}TEST.MERGING") == "pixel_argmax")
    target = folder / "inference" / "toy_val" / "metrics.json"
    target.parent.mkdir(parents=True)
    figures = {"PQ": quality, "PQ_th": quality - 10, "PQ_st": quality + 10, "PQ_small": None}
    target.write_text(json.dumps({"panoptic_seg": figures}))
else:
    total = int(settings["SOLVER.MAX_ITER"])
    lines = [{"iteration": i, "time": 0.5} for i in range(total // 2 if points == "14" else total)]
    (folder / "metrics.json").write_text("\n".join(map(json.dumps, lines)) + '\n{"iterat')
    if points == "14":
        time.sleep(60)
    quality = 50 + 10 * int(settings.get(f"{name}THING_MASK_LAYERS", 3)) + int(settings["SEED"])
    (folder / "model_final.pth").write_text(json.dumps({"quality": quality}))
