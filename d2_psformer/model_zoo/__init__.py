"""Configs by name: ``coco/psformer_R50_2x`` is ``configs/coco/psformer_R50_2x.yaml``."""

from difflib import get_close_matches
from pathlib import Path, PurePath

from ..utils.errors import UserError

__all__ = ["get_config_file", "list_configs"]

# The build copies configs/ into this package; a checkout or an editable install has the original.
_COPY = Path(__file__).parent / "configs"
_CONFIGS = _COPY if _COPY.is_dir() else Path(__file__).parents[2] / "configs"


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
        near = get_close_matches(plain, names) or [*names[:5], "..."]
        raise UserError(
            f"Config '{name}' does not exist: give a file or one of the names {', '.join(near)}."
        )
    return str(_CONFIGS / f"{plain}.yaml")
