"""Inference of the whole model, stage by stage."""

import argparse

from tabulate import tabulate
from tqdm import tqdm

from .contestants import MASK2FORMER, OURS, PLAIN, STAGES, in_own_process, names_of
from .models import DTYPES, add_model_options, size_of
from .official_shares import official_shares
from .same_result import difference
from .stages import TOTAL, stages_in_turns
from .sweep import SWEEPS, measure_sweep

CASES = ["480x640:480x640", "800x1200:427x640", "800x1200:800x1200"]
ALLOWED_DIFFERENCE = 1e-3  # share of pixels, in float32

Case = tuple[tuple[int, int], tuple[int, int]]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cases",
        nargs="+",
        type=_case,
        default=[_case(x) for x in CASES],
        metavar="HxW:HxW",
        help=f"sizes of input and output (default: {' '.join(CASES)})",
    )
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        default=["float32"],
        help="autocast types of ours; on a GPU of the peers too (default: float32 alone)",
    )
    parser.add_argument("--compile", action="store_true", help="ours compiled, besides")
    parser.add_argument(
        "--sweep",
        nargs="+",
        choices=SWEEPS,
        default=[],
        help="instead: our time over input size, thing queries, images in a batch",
    )
    add_model_options(parser)


def measure(options: argparse.Namespace) -> list[dict]:
    """Print a table for each case, or each sweep; return the rows of all."""
    parts = options.sweep or options.cases
    run = measure_sweep if options.sweep else _measure_case
    rows = []
    for threads in options.threads:
        for part in tqdm(parts, desc=f"inference, {threads} threads", disable=None):
            found = [{"threads": threads, **row} for row in run(part, options, threads)]
            rows += found
            print(tabulate(found, "keys", floatfmt=".4g") if options.sweep else _table(found))
    return rows


def _case(text: str) -> Case:
    inside, _, outside = text.partition(":")
    return size_of(inside), size_of(outside)


def _measure_case(case: Case, options: argparse.Namespace, threads: int) -> list[dict]:
    """Rows of (contestant, stage).

    Raises:
        RuntimeError: ours in float32 does not find what plain finds.
    """
    running = {name: in_own_process(name, options, threads, case) for name in names_of(options)}
    memory = {}
    if not options.no_memory:
        memory = {name: one.peak_memory(options.device) for name, one in running.items()}
    seconds = stages_in_turns({name: one.stages for name, one in running.items()}, options.rounds)
    expected = running[PLAIN].result()[0]["panoptic_seg"]
    official = official_shares(case)
    rows = []
    for name, found in seconds.items():
        about = {"input": _text(case[0]), "output": _text(case[1]), "contestant": name}
        if not name.startswith(MASK2FORMER):
            about |= difference(running[name].result()[0]["panoptic_seg"], expected)
        peak = memory[name] / 2**20 if memory else None
        for stage in STAGES:
            if stage in found:
                rows.append(
                    {
                        **about,
                        "stage": stage,
                        "ms": 1e3 * found[stage],
                        "share": found[stage] / found[TOTAL],
                        "official share": official.get(stage),
                        "speed-up": seconds[PLAIN][stage] / found[stage],
                        "peak MB": peak if stage == TOTAL else None,
                    }
                )
    _check_same(rows)
    return rows


def _check_same(rows: list[dict]) -> None:
    for row in rows:
        if row["contestant"] != OURS:
            continue
        if not row["same segments"] or row["differing pixels"] > ALLOWED_DIFFERENCE:
            raise RuntimeError(
                f"Ours and plain find different segments at {row['input']}: "
                f"{row['differing pixels']:.2%} of the pixels differ."
            )


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _table(rows: list[dict]) -> str:
    """One line a stage, then memory and difference from plain; contestants side by side."""
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    by_stage = {
        stage: {r["contestant"]: r for r in rows if r["stage"] == stage} for stage in STAGES
    }
    headers = ["stage", "official share", "plain share", f"{PLAIN}, ms"]
    for name in names[1:]:
        headers += [f"{name}, ms", "times faster"]
    lines = []
    for stage, found in by_stage.items():
        line = [stage, found[PLAIN]["official share"], found[PLAIN]["share"], found[PLAIN]["ms"]]
        for name in names[1:]:
            line += [found[name]["ms"], found[name]["speed-up"]] if name in found else [None] * 2
        lines.append(line)
    totals = by_stage[TOTAL]
    for title, key in (("peak MB", "peak MB"), ("differing pixels", "differing pixels")):
        line = [title, None, None, totals[PLAIN][key]]
        for name in names[1:]:
            line += [totals[name].get(key), None]
        lines.append(line)
    first = rows[0]
    title = f"\n{first['input']} to {first['output']}, {first['threads']} threads\n"
    return title + tabulate(lines, headers=headers, floatfmt=".4g", missingval="")
