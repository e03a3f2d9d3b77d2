#!/usr/bin/env bash
# From COCO instances to a model that runs without PyTorch, on generated data, in minutes on a CPU.
#
#   examples/own_data.sh [FOLDER]        default: output/own_data
#   ITERATIONS=60 examples/own_data.sh   a shorter training (default 300)
#
# With data of your own, begin at step 2.
set -euo pipefail
folder=${1:-output/own_data}
data=$folder/data
iterations=${ITERATIONS:-300}
export DETECTRON2_DATASETS=$folder

echo "1. Images with COCO instances, as an annotation tool exports them"
python "$(dirname "$0")/../datasets/generate_scenes.py" --train 400 --val 40
for split in train val; do
  psformer convert-data coco-panoptic "$folder/scenes/panoptic_$split.json" "$folder/annotation" \
    --images "$folder/scenes/$split" --split $split --to instances
done

echo "2. Convert, and check every file"
for split in train val; do
  psformer convert-data coco-instances "$folder/annotation/instances_$split.json" "$data" \
    --images "$folder/scenes/$split" --split $split --background ground
done
psformer check --data "$data"

echo "3. Train from a model that knows some of the classes"
psformer train --config scenes/demo --data "$data" \
  MODEL.WEIGHTS "$(python -c 'from d2_psformer.model_zoo import get_weights_file as f; print(f("scenes/demo"))')" \
  SOLVER.FINETUNE True SOLVER.BASE_LR 1e-4 SOLVER.MAX_ITER "$iterations" OUTPUT_DIR "$folder/model"

echo "4. Look at it"
psformer report "$folder/model"

echo "5. Ship it: ONNX, which needs NumPy, Pillow and onnxruntime to run"
psformer export "$folder/model/model_final.pth" --output "$folder/model.onnx"
python -m d2_psformer.deployment "$folder/model.onnx" "$folder"/scenes/val/*1.* --output "$folder/found"
echo "Look at $folder/model/report.html and $folder/found."
