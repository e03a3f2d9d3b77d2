"""Models on huggingface.co."""

from pathlib import Path

from ..utils.errors import UserError

PREFIX = "hf:"


def download(name: str) -> Path:
    """Get the checkpoint of "hf:owner/name" or "hf:owner/name@revision", or take it from the cache.

    Raises:
        UserError: there is no such model with a checkpoint, or no connection.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    patterns = ["*.safetensors", "*.pth", "config.yaml"]
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
    except Exception as error:  # of the name, the connection or the account
        raise UserError(f"'{name}' cannot be downloaded: {first_line(error)}") from error
    files = [file for pattern in patterns[:2] for file in sorted(Path(folder).glob(pattern))]
    if not files:
        raise UserError(f"'{name}' has no checkpoint (.safetensors or .pth).")
    return files[0]


def first_line(error: Exception) -> str:
    """The first line that an error says, or its name."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
