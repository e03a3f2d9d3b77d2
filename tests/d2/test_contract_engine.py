"""Training loop, hooks and launching, the same on both backends."""

import json

import pytest
import torch
from torch import nn

from d2_psformer.d2.checkpoint import DetectionCheckpointer
from d2_psformer.d2.engine import (
    HookBase,
    TrainerBase,
    hooks,
    launch,
)
from d2_psformer.d2.utils import EventWriter, comm, get_event_storage


class CountingTrainer(TrainerBase):
    """Gradient descent on one weight; can fail at an iteration."""

    def __init__(self, fail_at: int = -1):
        super().__init__()
        self.model = nn.Linear(1, 1, bias=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
        self.fail_at = fail_at
        self.calls: list[str] = []

    def run_step(self):
        self.calls.append(f"step{self.iter}")
        if self.iter == self.fail_at:
            raise RuntimeError("as asked")
        self.optimizer.zero_grad()
        (loss := self.model.weight.square().sum()).backward()
        self.optimizer.step()
        self.storage.put_scalar("loss", loss.item())


class TracingHook(HookBase):
    def before_train(self):
        self.trainer.calls.append("before_train")

    def before_step(self):
        self.trainer.calls.append("before_step")

    def after_step(self):
        self.trainer.calls.append("after_step")

    def after_train(self):
        self.trainer.calls.append("after_train")


class TracingWriter(EventWriter):
    def __init__(self):
        self.written, self.is_closed = [], False

    def write(self):
        self.written.append(get_event_storage().iter)

    def close(self):
        self.is_closed = True


def train(trainer: TrainerBase, *registered, start: int = 0, stop: int = 5) -> TrainerBase:
    trainer.register_hooks(registered)
    trainer.train(start, stop)
    return trainer


def test_hooks_run_around_the_steps():
    trainer = train(CountingTrainer(), TracingHook(), None, start=3, stop=5)
    a_step = ["before_step", "step{}", "after_step"]
    steps = [call.format(i) for i in (3, 4) for call in a_step]
    assert trainer.calls == ["before_train", *steps, "after_train"]
    assert (trainer.start_iter, trainer.max_iter, trainer.iter) == (3, 5, 5)
    assert trainer.storage.iter == 5


def test_hooks_run_after_an_error_too():
    trainer = CountingTrainer(fail_at=1)
    evaluated = []
    with pytest.raises(RuntimeError, match="as asked"):
        train(trainer, hooks.EvalHook(0, lambda: evaluated.append(1)), TracingHook())
    assert trainer.calls[-2:] == ["step1", "after_train"]
    assert not evaluated


def test_states_of_hooks_are_kept_by_class_name():
    class CountingHook(HookBase):
        count = 0

        def after_step(self):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    first = train(CountingTrainer(), CountingHook(), TracingHook())
    state = first.state_dict()
    assert state["iteration"] == 5
    assert [*state["hooks"].values()] == [{"count": 5}]

    hook, second = CountingHook(), CountingTrainer()
    second.register_hooks([hook])
    second.load_state_dict(state)
    assert hook.count == 5
    assert second.iter == 5


def test_a_state_without_its_hook_is_left_out():
    trainer = CountingTrainer()
    trainer.load_state_dict({"iteration": 4, "hooks": {"Unknown": {"a": 1}}})
    assert trainer.iter == 4


def test_iteration_timer_leaves_out_the_first_iterations():
    trainer = train(CountingTrainer(), hooks.IterationTimer(warmup_iter=2), stop=5)
    times = trainer.storage.history("time").values()
    assert [iteration for _, iteration in times] == [1, 2, 3, 4]
    assert all(seconds > 0 for seconds, _ in times)


def test_periodic_writer():
    writer = TracingWriter()
    train(CountingTrainer(), hooks.PeriodicWriter([writer], period=3), stop=8)
    assert writer.written == [2, 5, 7, 8]
    assert writer.is_closed


def test_periodic_checkpointer(tmp_path):
    trainer = CountingTrainer()
    checkpointer = DetectionCheckpointer(trainer.model, str(tmp_path), trainer=trainer)
    train(trainer, hooks.PeriodicCheckpointer(checkpointer, 2), stop=5)
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == [
        "model_0000001.pth",
        "model_0000003.pth",
        "model_final.pth",
    ]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    saved = torch.load(tmp_path / "model_0000003.pth", weights_only=True)
    assert saved["iteration"] == saved["trainer"]["iteration"] == 3


@pytest.mark.parametrize(("stop", "period", "count"), [(6, 3, 2), (7, 3, 3), (5, 0, 1)])
def test_eval_hook(stop, period, count):
    results = iter(range(100))
    hook = hooks.EvalHook(period, lambda: {"task": {"PQ": next(results)}, "plain": 1})
    trainer = train(CountingTrainer(), hook, stop=stop)
    history = trainer.storage.history("task/PQ").values()
    assert [value for value, _ in history] == list(range(count))
    assert history[-1][1] == stop
    assert trainer.storage.latest()["plain"] == (1.0, stop)


def test_eval_hook_takes_numbers_alone():
    with pytest.raises(ValueError, match="PQ"):
        train(CountingTrainer(), hooks.EvalHook(0, lambda: {"PQ": "high"}))


def test_eval_hook_without_the_last():
    train(CountingTrainer(), hooks.EvalHook(0, pytest.fail, eval_after_train=False))


def test_lr_scheduler_hook_steps_and_is_resumable():
    def build():
        trainer = CountingTrainer()
        scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, 2, gamma=0.1)
        return trainer, scheduler, hooks.LRScheduler(trainer.optimizer, scheduler)

    trainer, _, hook = build()
    train(trainer, hook, stop=5)
    rates = [value for value, _ in trainer.storage.history("lr").values()]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])

    other, scheduler, other_hook = build()
    other.register_hooks([other_hook])
    other.load_state_dict(trainer.state_dict())
    assert scheduler.last_epoch == 5


def test_the_rate_shown_is_that_of_most_parameters():
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(5)]
    best = hooks.LRScheduler.get_best_param_group_id
    groups = [{"params": weights[:2], "lr": 1.0}, {"params": weights[2:], "lr": 2.0}]
    assert best(torch.optim.SGD(groups, lr=1.0)) == 1
    single = [{"params": [w], "lr": lr} for w, lr in zip(weights, [1, 2, 3, 3, 4], strict=True)]
    assert best(torch.optim.SGD(single, lr=1.0)) == 2


def _sum_of_ranks(folder):
    ranks = comm.all_gather(comm.get_rank())
    (folder / f"{comm.get_rank()}.json").write_text(json.dumps([*ranks, comm.get_local_rank()]))
    comm.synchronize()


def test_launch_joins_processes(tmp_path):
    launch(_sum_of_ranks, 2, dist_url="auto", args=(tmp_path,))
    assert json.loads((tmp_path / "0.json").read_text()) == [0, 1, 0]
    assert json.loads((tmp_path / "1.json").read_text()) == [0, 1, 1]


def test_launch_of_one_stays_in_this_process():
    seen = []
    launch(seen.append, 1, args=("here",))
    assert seen == ["here"]
