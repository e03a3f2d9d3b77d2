"""Runs several trainings at a time, with one progress bar for all."""

import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tqdm import tqdm

from .plan import Run

# glibc gives freed memory back at once, and training on a CPU pays for it with page faults.
_KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TOP_PAD_": "100000000",
}
_PATIENCE = 10  # seconds for a process that is asked to end


class Runner:
    """
    Args:
        jobs: runs at a time; they share the processor's cores.
    """

    def __init__(self, jobs: int):
        self.jobs = jobs
        threads = max(1, (os.cpu_count() or 1) // jobs)
        self._environment = {**_KEEP_MEMORY, "OMP_NUM_THREADS": str(threads)}
        self._processes: list[subprocess.Popen] = []
        self._stopped = threading.Event()

    def run(self, runs: Sequence[Run]) -> dict[str, str]:
        """Run what is not done yet; one that fails does not keep the others from running.

        Returns:
            what went wrong, by the name of the run.

        Raises:
            KeyboardInterrupt: after all processes have ended; what is done stays done.
        """
        waiting = [run for run in runs if not run.is_done]
        total = sum(run.training.iterations for run in waiting)
        with (
            ThreadPoolExecutor(self.jobs) as pool,
            tqdm(total=total, desc="ablations", unit="iteration", disable=None) as bar,
        ):
            futures = {pool.submit(self._run, run): run for run in waiting}
            try:
                self._watch(futures, bar)
            except KeyboardInterrupt:
                self._stop(pool)
                raise
        return {run.name: future.result() for future, run in futures.items() if future.result()}

    def _run(self, run: Run) -> str | None:
        for step in run.steps:
            if self._stopped.is_set():
                return None
            if step.is_done:
                continue
            error = step.run(self._environment, self._processes)
            if error:
                return error
        return None

    def _watch(self, futures: dict[Future, Run], bar: tqdm) -> None:
        """Move the bar until all are done."""
        left = set(futures)
        while left:
            _, left = wait(left, timeout=2)
            bar.n = sum(run.training.iterations_done for run in futures.values())
            done = len(futures) - len(left)
            bar.set_postfix_str(f"{done} of {len(futures)} runs", refresh=True)

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        self._stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.terminate()
        for process in list(self._processes):
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def estimate(runs: Sequence[Run], guess: float) -> tuple[float, bool]:
    """Seconds that one worker needs for what is left, and whether any of it was measured.

    A training is as fast as its like with other seeds was, else as fast as all on average, else as
    the guess says.

    Args:
        guess: seconds an iteration.
    """
    known: dict[str, float] = {}
    for run in runs:
        speed = run.training.seconds_per_iteration
        if speed is not None:
            known[run.training.folder.parent.name] = speed
    usual = sum(known.values()) / len(known) if known else guess
    seconds = 0.0
    for run in runs:
        speed = known.get(run.training.folder.parent.name, usual)
        seconds += speed * (run.training.iterations - run.training.iterations_done)
        seconds += _EVALUATION * sum(not step.is_done for step in run.evaluations.values())
    return seconds, bool(known)


_EVALUATION = 20.0  # seconds, with the start of the process
