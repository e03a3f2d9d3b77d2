"""The evaluations of a training, over all its resumed parts."""

import logging

from ..d2.engine import hooks
from ..d2.utils import comm

logger = logging.getLogger(__name__)


class Evaluations(hooks.EvalHook):
    """Detectron2's hook, which also makes up for an evaluation in which the last run has ended.

    Nothing is evaluated when the last iteration has failed. Use it with a trainer that has
    ``metrics``, whose lines show which evaluations have been.
    """

    def before_train(self) -> None:
        done, max_iter = self.trainer.start_iter, self.trainer.max_iter
        is_due = self._period > 0 and 0 < done < max_iter and done % self._period == 0
        if is_due and comm.all_gather(self.trainer.metrics.last)[0] < done - 1:
            logger.info("The evaluation after iteration %d was not finished: again.", done - 1)
            self._do_eval()

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            super().after_train()
        else:
            del self._func  # it holds the trainer, and that holds this hook
