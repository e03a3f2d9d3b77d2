"""Every config key that this project adds to Detectron2's, declared once with its meaning."""

from .defaults import add_psformer_config, changed_keys, default_config
from .values import check_values

__all__ = ["add_psformer_config", "changed_keys", "check_values", "default_config"]
