"""The compiled dropout: which numbers stay follows from seed and place, and from nothing else."""

import pytest
import torch

from d2_psformer.ops.dropout_kernel import dropped, serves

pytestmark = pytest.mark.usefixtures("cpu_library")

WORD = 2**32 - 1
HALF = 2**15


def philox(counter: int, seed: int) -> list[int]:
    """Four words by the formula of the paper, 7 rounds."""
    a, b, c, d = counter & WORD, counter >> 32, 0, 0
    key, other_key = seed & WORD, seed >> 32
    for _ in range(7):
        of_a, of_c = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = of_c >> 32 ^ b ^ key, of_c & WORD, of_a >> 32 ^ d ^ other_key, of_a & WORD
        key, other_key = key + 0x9E3779B9 & WORD, other_key + 0xBB67AE85 & WORD
    return [a, b, c, d]


def test_the_formula_gives_the_published_numbers():
    """From the known answers that come with the authors' library."""
    assert philox(0, 0) == [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48]


@pytest.mark.parametrize("tile", [0, 3, 2**11])
def test_numbers_stay_by_the_bits_of_the_formula(isa, tile):
    seed, threshold = 0xFEDCBA9876543210, 30000
    words = [philox(16 * tile + i, seed) for i in range(16)]
    in_order = [word[w] for w in range(4) for word in words]
    bits = [word & 0xFFFF for word in in_order] + [word >> 16 for word in in_order]
    result = dropped(torch.ones(128 * (tile + 1)), threshold, 1.0, seed)[-128:]
    assert result.tolist() == [float(b >= threshold) for b in bits]


@pytest.mark.parametrize("count", [1, 127, 128, 1025, 40001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_threads_and_types_change_nothing(isa, dtype, count):
    x = torch.randn(count).to(dtype)
    before = torch.get_num_threads()
    stays = dropped(torch.ones(count), HALF, 1.0, 7).bool()
    expected = (x * 1.5).where(stays, 0)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(dropped(x, HALF, 1.5, 7), expected)
    finally:
        torch.set_num_threads(before)
    assert dropped(x, HALF, 1.5, 7, out=x) is x
    assert torch.equal(x, expected)


def test_nothing_and_all_are_dropped(isa):
    x = torch.tensor([1.0, float("nan"), float("inf"), -0.0]).repeat(50)
    assert torch.equal(dropped(x, 2**16, 0.0, 1), torch.zeros(200))
    torch.testing.assert_close(dropped(x, 0, 1.0, 1), x, rtol=0, atol=0, equal_nan=True)


def test_halves_of_words_seeds_and_neighbours_have_nothing_in_common(isa):
    """Correlations of a fair coin stay within 5 standard deviations."""
    count = 2**18
    stays = dropped(torch.ones(count), HALF, 1.0, 11)
    signs = 2 * stays - 1
    bound = 5 * count**-0.5
    assert signs.mean().abs() < bound
    for distance in (1, 2, 3, 16, 32, 64, 128, 256, 1024):
        assert (signs[distance:] * signs[:-distance]).mean().abs() < bound
    for seed in (10, 12, 11 + 2**32, 11 + 2**63):
        assert (signs * (2 * dropped(torch.ones(count), HALF, 1.0, seed) - 1)).mean().abs() < bound


def test_types_that_it_does_not_serve():
    assert serves(torch.ones(3)) and not serves(torch.ones(3, dtype=torch.int64))
    assert not serves(torch.ones(3, device="meta"))
    assert dropped(torch.ones(0), HALF, 2.0, 1).shape == (0,)
