"""``psformer models``: the configs of the package by name."""

import argparse
import ast
import functools
from pathlib import Path
from typing import Any

from ..model_zoo import get_config_file, list_configs
from ..utils.errors import UserError

SUMMARY = "list the models that have a config, or show one"
EPILOG = """
Examples:
  all             psformer models
  some            psformer models coco mask2former
  one's card      psformer models coco/psformer_R50_2x
  its config      psformer models coco/psformer_R50_2x --yaml

The weights of scenes/demo, a small model of generated scenes, are part of the package.
"""
TASKS = {"PANOPTIC_ON": "panoptic", "INSTANCE_ON": "instance", "SEMANTIC_ON": "semantic"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="*", help="only rows with these texts; one name: its card")
    parser.add_argument(
        "--yaml", action="store_true", help="the config of the one model that is named"
    )


def run(args: argparse.Namespace) -> None:
    from tabulate import tabulate

    names = list_configs()
    if args.yaml or (len(args.text) == 1 and args.text[0] in names):
        _show(" ".join(args.text), args.yaml)
        return
    rows = [(name, *_describe(_read(Path(get_config_file(name))))) for name in names]
    rows = [row for row in rows if all(t.lower() in " ".join(row).lower() for t in args.text)]
    if not rows:
        raise UserError(f"No model has {' and '.join(args.text)}: `psformer models` lists all.")
    print(tabulate(rows, ["config", "architecture", "task", "classes of"], "simple"))


def _show(name: str, as_yaml: bool) -> None:
    import yaml

    from .model_card import model_card

    config = _read(Path(get_config_file(name)))
    if as_yaml:
        print(yaml.safe_dump(config, sort_keys=False), end="")
    else:
        print(model_card(name, _describe(config)[1]))


def _describe(config: dict[str, Any]) -> tuple[str, str, str]:
    """Architecture, tasks, and the data set that the classes come from."""
    switches = {"PANOPTIC_ON": True} | config["MODEL"].get("POSTPROCESSING", {})
    tasks = ", ".join(task for key, task in TASKS.items() if switches.get(key))
    train = ast.literal_eval(str(config.get("DATASETS", {}).get("TRAIN", ()))) or ["your data"]
    return config["MODEL"]["META_ARCHITECTURE"], tasks, train[0]


@functools.cache
def _read(path: Path) -> dict[str, Any]:
    """What a config file of the package sets, its ``_BASE_`` included; imports less than torch."""
    import yaml

    loaded = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    bases = loaded.pop("_BASE_", [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged = _merge(merged, _read((path.parent / base).resolve()))
    return _merge(merged, loaded)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict):
            merged[key] = _merge(below[key], above[key])
    return merged
