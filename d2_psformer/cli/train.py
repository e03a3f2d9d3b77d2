"""``psformer train``, which ``train_net.py`` calls too."""

import argparse

from ..utils.commands import add_config
from ..utils.errors import UserError

SUMMARY = "train a model and evaluate it"
EPILOG = """
Examples:
  minutes on a CPU  psformer train --config scenes/demo
  own data          psformer train --config coco/psformer_R50_1x_1gpu --data mine/data.yaml
  8 GPUs            psformer train --config coco/psformer_R50_2x --num-gpus 8
  after a stop      psformer train --config CONFIG --resume
  other settings    psformer train --config CONFIG SOLVER.BASE_LR 1e-4 OUTPUT_DIR output/mine
  torchrun          torchrun --nproc-per-node 8 -m d2_psformer train --config CONFIG
  two machines      psformer train --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT ...
                    psformer train --num-machines 2 --machine-rank 1 --dist-url tcp://HOST:PORT ...

Data sets are looked for in $DETECTRON2_DATASETS (default ./datasets). Checkpoints, log.txt,
metrics.json and TensorBoard files go to OUTPUT_DIR (default ./output).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--eval-only", action="store_true", help="do not train: as `psformer evaluate`"
    )
    add_processes(parser)
    add_config(parser)


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add the options of Detectron2's commands for checkpoints and several processes."""
    add = parser.add_argument
    add("--resume", action="store_true", help="continue from the last checkpoint in OUTPUT_DIR")
    add("--num-gpus", type=int, default=1, metavar="N", help="processes on this machine")
    add("--num-machines", type=int, default=1, metavar="N", help="machines in all")
    add("--machine-rank", type=int, default=0, metavar="I", help="this machine, from 0")
    add("--dist-url", default="auto", metavar="URL", help="where several machines meet")


def run(args: argparse.Namespace) -> None:
    if not args.config_file:
        raise UserError(
            "Say which model: --config coco/psformer_R50_2x for COCO, --config scenes/demo for a "
            "few minutes on a CPU; `psformer models` lists all."
        )
    from ..engine import run as run_processes

    run_processes(run_process, args)


def run_process(args: argparse.Namespace) -> None:
    """Train, or evaluate with ``--eval-only``, in one process of perhaps several."""
    from ..engine import Trainer, evaluate, setup

    cfg = setup(args)
    if args.eval_only:
        evaluate(cfg, resume=args.resume)
        return
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()
