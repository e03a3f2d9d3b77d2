import pytest
from golden_relatives import GoldenRelatives


@pytest.fixture(scope="session")
def golden(reference_relatives) -> GoldenRelatives:
    return GoldenRelatives(reference_relatives)
