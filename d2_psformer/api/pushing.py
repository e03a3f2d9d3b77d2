"""Uploading trained models to huggingface.co."""

import tempfile
from pathlib import Path

from ..checkpoint import read_checkpoint, write_slim
from ..classes import Classes
from ..d2.config import CfgNode
from ..data.class_metadata import is_class_metadata
from ..utils.errors import UserError
from ..utils.wording import counted
from .configs import StrPath, model_config
from .hub import PREFIX, first_line
from .model import Model

_CARD = """---
library_name: d2_psformer
pipeline_tag: image-segmentation
tags: [panoptic-segmentation]
---
# {architecture} of {count}

```python
import d2_psformer

model = d2_psformer.load("{prefix}{name}")
model.predict("photo.jpg").draw().show()
```

Classes: {classes}.
"""


def push(
    model: Model | StrPath,
    name: str,
    *,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Upload a model to huggingface.co, from where ``load("hf:owner/name")`` gets it.

    Weights, config (without paths of this machine), classes and a short README.md are uploaded.

    Args:
        model: a loaded model, or a checkpoint with its config, see :func:`.load`.
        name: "owner/name"; the repository is made if it does not exist.
        private: make it a private one.
        token: of the account; by default the one that ``hf auth login`` has stored.

    Returns:
        The address of the model.

    Raises:
        UserError: the checkpoint does not list its classes, or the upload is refused.
    """
    from huggingface_hub import HfApi

    name = name.removeprefix(PREFIX)
    cfg = model.cfg if isinstance(model, Model) else model_config(model)
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), cfg, name)
        try:
            hub = HfApi(token=token)
            hub.create_repo(name, private=private, exist_ok=True)
            hub.upload_folder(repo_id=name, folder_path=folder)
        except Exception as error:  # of the name, the connection or the account
            raise UserError(f"'{name}' cannot be uploaded: {first_line(error)}") from error
    return f"https://huggingface.co/{name}"


def _write(folder: Path, cfg: CfgNode, name: str) -> None:
    content = read_checkpoint(cfg.MODEL.WEIGHTS)
    metadata = content.get("metadata", {})
    if not is_class_metadata(metadata):
        raise UserError(
            f"Checkpoint '{cfg.MODEL.WEIGHTS}' does not list its classes: push one of a training."
        )
    shared = cfg.clone()
    shared.defrost()
    shared.MODEL.WEIGHTS, shared.OUTPUT_DIR, shared.DATASETS.REGISTER = "", "output", []
    write_slim(folder / "model.safetensors", content["model"], shared.dump(), metadata)
    classes = Classes.from_metadata(metadata).names
    card = _CARD.format(
        architecture=cfg.MODEL.META_ARCHITECTURE,
        count=counted(len(classes), "class"),
        classes=", ".join(classes),
        name=name,
        prefix=PREFIX,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
