"""What the first process of a training does for all."""

from collections.abc import Callable

from ..d2.utils import comm
from ..utils.errors import CarriedError, is_user_error


def in_main_process(function: Callable[[], None]) -> None:
    """Call a function in the first process; all processes call this together.

    Raises:
        Exception: an error that a user can fix, which the function raises, in all of them.
    """
    failure = None
    if comm.is_main_process():
        try:
            function()
        except Exception as error:
            if not is_user_error(error):
                raise
            failure = CarriedError(error)
    if failure := comm.all_gather(failure)[0]:
        failure.throw()
