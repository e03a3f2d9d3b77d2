"""A report on a trained model, or on two side by side: one HTML file that opens from disk."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from tabulate import tabulate

from ..classes import Classes
from ..d2.config import CfgNode
from ..engine import load_config
from ..utils.errors import UserError
from .evaluation import Evaluation, evaluate_run
from .gallery import draw_gallery
from .page import write_page
from .statistics import image_quality
from .tables import headline

__all__ = ["image_quality", "read_run", "write_report"]


def read_run(run: str, opts: Sequence[str] = (), data: str | None = None) -> CfgNode:
    """The config of a training, not frozen.

    Args:
        run: its folder, with ``config.yaml`` and ``model_final.pth``, or else a config: a file or
            a name.
        opts: keys and values in turns.
        data: a ``data.yaml``, or its folder, in place of the data sets of the config.

    Raises:
        UserError: a file is missing or wrong.
    """
    folder = Path(run)
    if not folder.is_dir():
        return load_config(run, [*opts], data)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"'{run}' has no config.yaml: name the OUTPUT_DIR of a training.")
    # The folder may have been moved, and MODEL.WEIGHTS is what the training began with.
    own = ["OUTPUT_DIR", str(folder), "MODEL.WEIGHTS", str(folder / "model_final.pth")]
    return load_config(str(folder / "config.yaml"), [*own, *opts], data)


def write_report(
    cfgs: Sequence[CfgNode], output: Path | None = None, *, num_images: int = 24
) -> tuple[str, Path]:
    """Evaluate one or two models on the first data set of DATASETS.TEST and write the report.

    Args:
        cfgs: of each run, not frozen; both are evaluated on the data set of the first.
            MODEL.WEIGHTS is "model_final.pth" in OUTPUT_DIR if it is empty.
        output: an .html file, or a folder for "report.html"; default the first OUTPUT_DIR.
        num_images: images in the gallery, at most.

    Returns:
        The table of the main figures as text, and the path of the report.

    Raises:
        UserError: there is no data set with ground truth, both models have different classes, or
            see :class:`~d2_psformer.engine.Predictor`.
    """
    first = evaluate_run(cfgs[0])
    runs = [first, *(evaluate_run(cfg, first.dataset) for cfg in cfgs[1:])]
    _check_classes(runs)
    output = Path(cfgs[0].OUTPUT_DIR) if output is None else output
    path = output if output.suffix == ".html" else output / "report.html"
    write_page(path, runs, draw_gallery(runs, num_images))
    return _table(runs), path


def _check_classes(runs: Sequence[Evaluation]) -> None:
    first, *others = [run.statistics.classes for run in runs]
    for run, classes in zip(runs[1:], others, strict=True):
        for ours, theirs in zip_longest(_named(first), _named(classes), fillvalue="none"):
            if ours != theirs:
                raise UserError(
                    f"The classes of '{run.cfg.MODEL.WEIGHTS}' and '{runs[0].cfg.MODEL.WEIGHTS}' "
                    f"differ, first {theirs} and {ours}: compare models that were trained for the "
                    "same classes in the same order."
                )


def _named(classes: Classes) -> list[str]:
    kinds = ["thing" if i in classes.thing_ids else "stuff" for i in range(classes.num_classes)]
    return [f"{kind} '{name}'" for kind, name in zip(kinds, classes.names, strict=True)]


def _table(runs: Sequence[Evaluation]) -> str:
    """The main figures in percent; "-" for one of no class."""
    figures = headline(runs)
    columns = zip(*figures.values(), strict=True)
    rows = [[run.cfg.MODEL.WEIGHTS, *col] for run, col in zip(runs, columns, strict=True)]
    return tabulate(rows, ["%", *figures], "github", floatfmt=".1f", missingval="-")
