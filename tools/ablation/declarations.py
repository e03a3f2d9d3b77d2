"""Ablations as they are declared in a YAML file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEFAULT_FILE = Path(__file__).with_name("ablations.yaml")
Overrides = dict[str, Any]  # keys below MODEL.PSFORMER


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        train: overrides that make it another training.
        test: overrides of TEST, for which a training is evaluated once more.
    """

    label: str
    train: Overrides
    test: Overrides


@dataclass(frozen=True)
class Ablation:
    """Variants that are compared with the first of them.

    Attributes:
        paper: what the paper finds, in a few words.
    """

    name: str
    title: str
    paper: str
    rows: tuple[Row, ...]


def read_ablations(path: str | os.PathLike, only: Sequence[str] = ()) -> list[Ablation]:
    """
    Args:
        only: names of ablations; all of them if empty.

    Raises:
        FileNotFoundError, ValueError: one sentence naming the file and what is wrong in it.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"File of ablations '{path}' does not exist: check --ablations.")
    with open(path, encoding="utf-8") as file:
        try:
            content = yaml.safe_load(file)
            found = [_ablation(name, entry) for name, entry in content.items()]
        except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            text = " ".join(str(error).split())
            raise ValueError(
                f"'{path}' is no file of ablations ({text}): see tools/ablation/ablations.yaml."
            ) from error
    names = [ablation.name for ablation in found]
    if unknown := [name for name in only if name not in names]:
        raise ValueError(f"There is no ablation '{unknown[0]}' in '{path}': {', '.join(names)}.")
    return [ablation for ablation in found if not only or ablation.name in only]


def _ablation(name: str, entry: dict) -> Ablation:
    rows = (_row(label, overrides) for label, overrides in entry["rows"].items())
    return Ablation(str(name), entry["title"], entry["paper"], tuple(rows))


def _row(label: str, overrides: Overrides) -> Row:
    parts: tuple[Overrides, Overrides] = {}, {}
    for key, value in overrides.items():
        parts[key.startswith("TEST.")][key] = value
    return Row(str(label), *parts)


def folder_name(overrides: Overrides, default: str) -> str:
    """A name that tells overrides, e.g. "ENCODER=none"; the default's if there are none."""
    return "+".join(f"{key}={value}" for key, value in sorted(overrides.items())) or default
