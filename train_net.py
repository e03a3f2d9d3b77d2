#!/usr/bin/env python
"""Train or evaluate a model: parse, set up, run. All logic is in d2_psformer.engine."""

import argparse

import d2_psformer.data
import d2_psformer.modeling  # noqa: F401  registers data sets and models
from d2_psformer.d2.engine import default_argument_parser
from d2_psformer.engine import Trainer, evaluate, run, setup

EPILOG = """
Examples:
  8 GPUs           train_net.py --num-gpus 8 --config-file configs/coco/psformer_R50_2x.yaml
  CPU              train_net.py --config-file configs/scenes/demo.yaml
  after a stop     train_net.py --config-file FILE --resume
  evaluate         train_net.py --config-file FILE --eval-only MODEL.WEIGHTS output/model_final.pth
  other settings   train_net.py --config-file FILE SOLVER.BASE_LR 1e-4 OUTPUT_DIR output/mine
  torchrun         torchrun --nproc-per-node 8 train_net.py --config-file FILE

Data sets are looked for in $DETECTRON2_DATASETS (default ./datasets): see datasets/README.md.
Checkpoints, log.txt, metrics.json and TensorBoard files go to OUTPUT_DIR (default ./output).
"""


def parse_args() -> argparse.Namespace:
    parser = default_argument_parser(EPILOG)
    parser.description = "Train a model and evaluate it, or evaluate a trained one."
    args = parser.parse_args()
    if not args.config_file:
        parser.error(
            "say what to train: --config-file configs/coco/psformer_R50_2x.yaml for COCO, "
            "--config-file configs/scenes/demo.yaml for a few minutes on a CPU (--help for more)"
        )
    return args


def main(args: argparse.Namespace) -> None:
    cfg = setup(args)
    if args.eval_only:
        evaluate(cfg, resume=args.resume)
        return
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


if __name__ == "__main__":
    arguments = parse_args()
    run(main, arguments)
