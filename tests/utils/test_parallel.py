"""Work in several processes."""

import os
import signal

import pytest

from d2_psformer.utils.errors import UserError
from d2_psformer.utils.parallel import map_with_progress


def double(number: int) -> int:
    return 2 * number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize(("workers", "threads"), [(0, False), (2, False), (2, True)])
def test_results_have_the_order_of_the_items(workers, threads):
    found = map_with_progress(
        double, iter(range(50)), workers=workers, description="", threads=threads
    )
    assert [*found] == [*range(0, 100, 2)]


# 90 items wait for one another, 9 do not
@pytest.mark.parametrize("count", [9, 90])
def test_a_process_that_dies_is_told_in_one_sentence(count):
    sentence = r"^A worker process died, .* memory runs out: use fewer of them, or"
    with pytest.raises(UserError, match=sentence):
        [*map_with_progress(die_at_three, range(count), workers=2, description="")]
