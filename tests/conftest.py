"""Where the data that is no part of the repository lies, and what all tests share."""

import logging
import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def _outside(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not path.is_dir():
        pytest.skip(f"{variable}: no folder {path}, so this comparison is skipped")
    return path


@pytest.fixture(scope="session")
def reference() -> Path:
    """Golden numbers of the official implementation."""
    return _outside("PSFORMER_REFERENCE", "reference")


@pytest.fixture(scope="session")
def reference_relatives() -> Path:
    """Golden numbers of the official MaskFormer and Mask2Former."""
    return _outside("PSFORMER_REFERENCE_RELATIVES", "reference_relatives")


@pytest.fixture(scope="session")
def reference_max_deeplab() -> Path:
    """Golden numbers of the official MaX-DeepLab."""
    return _outside("PSFORMER_REFERENCE_MAX_DEEPLAB", "reference_max_deeplab")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real COCO images with panoptic ground truth."""
    return _outside("PSFORMER_REAL_DATA", "coco_real")


@pytest.fixture(scope="session")
def pq_cases() -> Path:
    """Panoptic-quality cases of public tests."""
    return _outside("PSFORMER_PQ_CASES", "pq_cases")


@pytest.fixture(autouse=True)
def _clean_loggers():
    """Undo what setup_logger has done in other tests, and in fixtures of modules."""
    for name in ("fvcore", "detectron2", "d2_psformer", "d2_psformer.d2lite"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


@pytest.fixture
def clean_catalogs():
    """Forget what a test has registered."""
    from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog

    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
