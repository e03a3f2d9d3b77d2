#!/usr/bin/env python
"""Train a model and evaluate it, or evaluate a trained one.

Examples:
  8 GPUs           train_net.py --num-gpus 8 --config-file configs/coco/psformer_R50_2x.yaml
  CPU              train_net.py --config-file configs/scenes/demo.yaml
  after a stop     train_net.py --config-file FILE --resume
  evaluate         train_net.py --config-file FILE --eval-only MODEL.WEIGHTS output/model_final.pth
  other settings   train_net.py --config-file FILE SOLVER.BASE_LR 1e-4 OUTPUT_DIR output/mine
  torchrun         torchrun --nproc-per-node 8 train_net.py --config-file FILE
  two machines     train_net.py --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT ...
                   train_net.py --num-machines 2 --machine-rank 1 --dist-url tcp://HOST:PORT ...

Data sets are looked for in $DETECTRON2_DATASETS (default ./datasets): see datasets/README.md.
Checkpoints, log.txt, metrics.json and TensorBoard files go to OUTPUT_DIR (default ./output).
"""

import argparse

from d2_psformer.utils.commands import report_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", metavar="FILE", help="YAML file of settings")
    add("--resume", action="store_true", help="continue from the last checkpoint in OUTPUT_DIR")
    add("--eval-only", action="store_true", help="evaluate, do not train")
    add("--num-gpus", type=int, default=1, metavar="N", help="processes on this machine")
    add("--num-machines", type=int, default=1, metavar="N", help="machines in all")
    add("--machine-rank", type=int, default=0, metavar="I", help="this machine, from 0")
    add("--dist-url", default="auto", metavar="URL", help="where several machines meet")
    add("opts", nargs=argparse.REMAINDER, help="settings at the very end: KEY VALUE KEY VALUE ...")
    args = parser.parse_args()
    if not args.config_file:
        parser.error(
            "say what to train: --config-file configs/coco/psformer_R50_2x.yaml for COCO, "
            "--config-file configs/scenes/demo.yaml for a few minutes on a CPU (--help for more)"
        )
    if args.num_machines > 1 and args.dist_url == "auto":
        parser.error("several machines need --dist-url tcp://HOST:PORT")
    return args


# Imports are late so that --help and wrong arguments are answered at once.
def run_process(args: argparse.Namespace) -> None:
    from d2_psformer.engine import Trainer, evaluate, setup

    cfg = setup(args)
    if args.eval_only:
        evaluate(cfg, resume=args.resume)
        return
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


@report_user_errors()
def main() -> None:
    args = parse_args()
    from d2_psformer.engine import run

    run(run_process, args)


if __name__ == "__main__":
    main()
