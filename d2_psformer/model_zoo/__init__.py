"""Configs by name: ``coco/psformer_R50_2x`` is ``configs/coco/psformer_R50_2x.yaml``."""

from pathlib import Path, PurePath

from ..utils.errors import UserError, near_names

__all__ = ["get_config_file", "get_weights_file", "list_configs"]


def _find(folder: str) -> Path:
    """The build copies folders into this package; a checkout or an editable install has theirs."""
    copy = Path(__file__).parent / folder
    return copy if copy.is_dir() else Path(__file__).parents[2] / folder


_CONFIGS = _find("configs")
_WEIGHTS = {"scenes/demo": _find("demo") / "psformer_scenes.pth"}


def list_configs() -> list[str]:
    """Names of all configs, sorted; files that others only build on (``_BASE_``) are left out."""
    files = _CONFIGS.glob("[!_]*/*.yaml")
    return sorted(file.relative_to(_CONFIGS).as_posix().removesuffix(".yaml") for file in files)


def get_config_file(name: str) -> str:
    """Path of the config file of this name, with or without ``.yaml``.

    Raises:
        UserError: no config has this name.
    """
    plain = PurePath(name).as_posix().removesuffix(".yaml")
    names = list_configs()
    if plain not in names:
        raise UserError(
            f"Config '{name}' does not exist: give a file or a name, as {near_names(plain, names)} "
            "(`psformer models` lists all)."
        )
    return str(_CONFIGS / f"{plain}.yaml")


def get_weights_file(name: str) -> str:
    """Path of the weights that the package has for the config of this name; "" if it has none."""
    return str(_WEIGHTS.get(PurePath(name).as_posix().removesuffix(".yaml"), ""))
