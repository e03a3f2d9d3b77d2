"""The ablations that a YAML file declares, and the folders of their runs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

ABLATIONS = Path(__file__).with_name("ablations.yaml")


@dataclass(frozen=True)
class Row:
    """A variant: its label, and the settings that it changes in training and in evaluation."""

    label: str
    train: dict
    test: dict

    def training_folder(self, output: Path, seed: int) -> Path:
        """Rows that train alike share it."""
        return output / "runs" / _folder_name(self.train, "base") / f"seed{seed}"

    def evaluation_folder(self, output: Path, seed: int) -> Path:
        return self.training_folder(output, seed) / _folder_name(self.test, "default")


def read_ablations(path: str, only: list[str]) -> dict[str, dict]:
    """name: {title, paper, rows} with :class:`Row`; all of them if ``only`` is empty.

    Raises:
        UserError: a sentence that names the file and what is wrong in it.
    """
    import yaml

    from d2_psformer.utils.errors import UserError

    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        for entry in found.values():
            entry["rows"] = [
                Row(str(label), changes.get("train", {}), changes.get("test", {}))
                for label, changes in entry["rows"].items()
            ]
            entry["heading"] = f"### {entry['title']}\n\nThe paper: {entry['paper']}."
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"'{path}' is no file of ablations ({text}): see {ABLATIONS}.") from error
    if unknown := [name for name in only if name not in found]:
        raise UserError(f"There is no ablation '{unknown[0]}' in '{path}': {', '.join(found)}.")
    return {name: entry for name, entry in found.items() if not only or name in only}


def _folder_name(settings: dict, default: str) -> str:
    """A name made of settings, such as "LOSS.CLASS_WEIGHT=1"; the default if there are none."""
    name = "+".join(f"{key}={settings[key]}" for key in sorted(settings)).replace("MODEL.", "")
    return re.sub(r"[^\w=.+-]", "_", name) or default


def metrics_file(folder: Path) -> Path | None:
    """The file of an evaluation's figures; None while it is not done."""
    return next(folder.glob("inference/*/metrics.json"), None)


def collect(row: Row, output: Path) -> dict[int, dict]:
    """For each seed that is done, the figures of a row."""
    found = {}
    for folder in sorted(row.training_folder(output, 0).parent.glob("seed*")):
        seed = int(folder.name.removeprefix("seed"))
        if file := metrics_file(row.evaluation_folder(output, seed)):
            found[seed] = json.loads(file.read_text())["panoptic_seg"]
    return found
