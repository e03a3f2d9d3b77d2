"""From declared ablations to the steps that have to be run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from d2_psformer.modeling.variants import check_variant

from d2_psformer.classes import Classes
from d2_psformer.d2.config import CfgNode
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.data import datasets_root, register_from_config
from d2_psformer.data.scenes import LEVELS, ScenesSpec, scenes_folder, write_scenes
from d2_psformer.engine import load_config

from .declarations import Ablation, Overrides, Row, folder_name
from .steps import Step


@dataclass(frozen=True)
class Run:
    """A training with one seed, and evaluations of what it gives."""

    name: str
    training: Step
    evaluations: dict[str, Step]

    @property
    def steps(self) -> Iterator[Step]:
        yield self.training
        yield from self.evaluations.values()

    @property
    def is_done(self) -> bool:
        return all(step.is_done for step in self.steps)


@dataclass(frozen=True)
class Planner:
    """
    Attributes:
        config_file: what all variants start from.
        settings: "KEY VALUE" pairs for all of them.
        folder: of the results.
    """

    config_file: str
    settings: tuple[str, ...]
    folder: Path

    def plan(self, ablations: Sequence[Ablation], seeds: Sequence[int]) -> list[Run]:
        """Every training once, with all evaluations that any row wants; seed by seed.

        Raises:
            ValueError: one sentence naming the ablation, the row and the key at fault.
        """
        runs: dict[tuple[int, str], Run] = {}
        for seed in seeds:
            for ablation in ablations:
                for row in ablation.rows:
                    try:
                        self._add(row, seed, runs)
                    except ValueError as error:
                        place = f"Ablation '{ablation.name}', row '{row.label}'"
                        raise ValueError(f"{place}: {error}") from error
        return list(runs.values())

    def evaluation(self, row: Row, seed: int) -> Step:
        """What tells how good a row is with this seed."""
        training = self._training(row.train, seed)
        weights = str(training.folder / "model_final.pth")
        settings = self._settings(row.train, row.test, SEED=seed)
        cfg = self._config(settings)
        return Step(
            folder=training.folder / "evaluations" / folder_name(row.test, "default"),
            cfg=cfg,
            arguments=(*self._arguments("--eval-only"), *settings, "MODEL.WEIGHTS", weights),
            data=training.data,
        )

    def _add(self, row: Row, seed: int, runs: dict[tuple[int, str], Run]) -> None:
        name = folder_name(row.train, "base")
        training, evaluation = self._training(row.train, seed), self.evaluation(row, seed)
        run = runs.setdefault((seed, name), Run(f"{name}, seed {seed}", training, {}))
        run.evaluations[evaluation.folder.name] = evaluation

    def _training(self, overrides: Overrides, seed: int) -> Step:
        settings = (*self._settings(overrides, {}, SEED=seed), "DATASETS.TEST", "()")
        cfg = self._config(settings)
        return Step(
            folder=self.folder / "runs" / folder_name(overrides, "base") / f"seed{seed}",
            cfg=cfg,
            arguments=(*self._arguments("--resume"), *settings),
            iterations=cfg.SOLVER.MAX_ITER,
            data=_describe_data(cfg),
        )

    def _arguments(self, option: str) -> tuple[str, ...]:
        return option, "--config-file", self.config_file

    def _settings(self, train: Overrides, test: Overrides, **others) -> tuple[str, ...]:
        pairs = {f"MODEL.PSFORMER.{key}": value for key, value in (train | test).items()} | others
        return (*self.settings, *(str(text) for pair in pairs.items() for text in pair))

    def _config(self, settings: Sequence[str]) -> CfgNode:
        cfg = load_config(self.config_file, list(settings))
        register_from_config(cfg)
        layout = Classes.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
        check_variant(cfg.MODEL.PSFORMER, layout)
        return cfg


def write_missing_scenes(cfg: CfgNode, workers: int) -> None:
    """Generate the scenes that the config names, unless there are some already."""
    for level in LEVELS:
        if f"{scenes_folder(level)}_train" in cfg.DATASETS.TRAIN and not _manifest(level).is_file():
            write_scenes(_manifest(level).parent, ScenesSpec(level=level), workers)


def _describe_data(cfg: CfgNode) -> str:
    """What scenes they are: their names do not tell how many, and of what seed."""
    used = [level for level in LEVELS if f"{scenes_folder(level)}_train" in cfg.DATASETS.TRAIN]
    return " ".join(_manifest(level).read_text() for level in used if _manifest(level).is_file())


def _manifest(level: str) -> Path:
    return Path(datasets_root(), scenes_folder(level), "scenes.json")
