#!/usr/bin/env python
"""Parameters, floating-point operations and time of models, part by part."""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

from benchmark import size_of

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works before installation too

EPILOG = """
Examples:
  one model, part by part   tools/analyze_model.py --config-file configs/coco/psformer_R50_2x.yaml
  with time on this machine tools/analyze_model.py --config-file FILE --time 5
  another image, a variant  tools/analyze_model.py --config-file FILE --input 1024x2048 \\
                                MODEL.BACKBONE.TIMM_NAME resnet101
  all of configs/           tools/analyze_model.py --all

Counted are products, convolutions, attention and deformable attention of the prediction of one
image, by torch.utils.flop_counter; one multiply-add is one FLOP. Merging is left out. No weights
are loaded and nothing is computed, except for --time.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config-file", metavar="FILE", help="config of one model")
    which.add_argument("--all", action="store_true", help="a table of all models in configs/")
    add = parser.add_argument
    add("--input", type=size_of, default=(800, 1200), metavar="HxW", help="image (800x1200)")
    add("--depth", type=int, default=2, metavar="N", help="levels of parts (%(default)s)")
    add("--time", type=int, default=0, metavar="N", help="measure N predictions on MODEL.DEVICE")
    add("--json", type=Path, metavar="FILE", help="write plain numbers there")
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE ... in place of the config's, at the end")
    args = parser.parse_args(arguments)
    if args.time and args.all:
        parser.error("--time is for one --config-file")
    if args.time < 0 or args.depth < 1:
        parser.error("give a --depth of at least 1 and a --time of at least 0")
    return args


def seconds_by_part(cfg, size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Median seconds of every module; random weights leave little to merge."""
    import torch

    from d2_psformer.engine import build_model
    from d2_psformer.engine.analysis import with_containers

    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    wait = torch.cuda.synchronize if cfg.MODEL.DEVICE.startswith("cuda") else lambda: None
    model = build_model(cfg).eval()
    seconds: dict[str, float] = defaultdict(float)
    started: list[float] = []

    def start(*_) -> None:
        wait()
        started.append(time.perf_counter())

    def stop(name: str) -> None:
        wait()
        seconds[name] += time.perf_counter() - started.pop()

    for name, module in model.named_modules():
        module.register_forward_pre_hook(start)
        module.register_forward_hook(lambda *_, name=name: stop(name))
    passes = []
    image = torch.rand(3, *size) * 255
    for _ in range(rounds + 1):
        seconds.clear()
        with torch.inference_mode():
            model([{"image": image}])
        passes.append(dict(seconds))
    median = {name: statistics.median(p.get(name, 0.0) for p in passes[1:]) for name in passes[1]}
    return with_containers(model, median)


def part_rows(args: argparse.Namespace) -> list[dict]:
    """One row for each part of the model, the whole model first; plain numbers."""
    from d2_psformer.engine.analysis import analyze, read_config

    cfg = read_config(args.config_file, args.opts)
    analysis = analyze(cfg, args.input)
    rows = [{"part": name, **analysis.row(name)} for name in analysis.parts(args.depth)]
    if args.time:
        seconds = seconds_by_part(cfg, args.input, args.time)
        rows = [{**row, "seconds": seconds.get(row["part"])} for row in rows]
    return rows


def model_rows(args: argparse.Namespace) -> list[dict]:
    """One row for each config of configs/; plain numbers."""
    from tqdm import tqdm

    from d2_psformer.engine.analysis import analyze, read_config
    from d2_psformer.model_zoo import list_configs
    from d2_psformer.utils.errors import UserError

    rows = []
    for name in tqdm(list_configs(), desc="counting", disable=None):
        try:
            analysis = analyze(read_config(name, args.opts), args.input)
        except UserError as error:  # of a data set that is not here, say
            tqdm.write(f"{name} is left out: {error}")
            continue
        whole, backbone = analysis.row(), analysis.flops["backbone"]
        rows.append({"config": name, **whole, "flops of the backbone": backbone})
    return rows


def table(rows: list[dict]) -> str:
    """Millions of parameters, GFLOPs and milliseconds."""
    from tabulate import tabulate

    def cell(key: str, value) -> str:
        if isinstance(value, str) or value is None:
            return value or ("whole model" if key == "part" else "")
        if key == "seconds":
            return f"{1e3 * value:.1f}"
        return f"{value / 1e9:.1f}" if "flops" in key else f"{value / 1e6:.2f}"

    titles = {"parameters": "parameters, M", "trainable": "trainable, M", "flops": "GFLOPs"}
    titles |= {"flops of the backbone": "of the backbone", "seconds": "ms"}
    shown = [{titles.get(key, key): cell(key, row[key]) for key in row} for row in rows]
    sides = ["left", *["right"] * (len(rows[0]) - 1)]
    return tabulate(shown, "keys", "github", colalign=sides, disable_numparse=True)


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    from d2_psformer.utils.commands import report_user_errors

    with report_user_errors():
        rows = model_rows(args) if args.all else part_rows(args)
        print(table(rows))
        if args.json:
            args.json.write_text(json.dumps({"input": args.input, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
