"""How the weights' rate falls in a search."""

import pytest

from nas_lightning.errors import UserError
from nas_lightning.reports import read_metrics

BY_HAND = (
    "model.weight_scheduler={_target_: torch.optim.lr_scheduler.MultiStepLR, _partial_: true, "
    "milestones: [2], gamma: 0.25}"
)


@pytest.mark.parametrize("after", ["sched.warmup=0.5", "lr.after=2"])
def test_a_lowered_rate_is_that_of_torchs_schedule_from_the_end_of_the_warm_up_on(after, toy, tmp_path):
    short = ("trainer.max_epochs=4", "method=edd")
    warmup = after if after.startswith("sched") else "sched.warmup=0.25"
    toy("own", *short, "lr=lowered", "lr.share=0.25", *dict.fromkeys((after, warmup)))
    toy("torchs", *short, warmup, BY_HAND)
    found, wanted = (read_metrics(tmp_path / name / "metrics.csv") for name in ("own", "torchs"))
    assert found["weight_lr"] == pytest.approx([0.025, 0.025, 0.025 / 4, 0.025 / 4])
    assert found["valid_loss"] == wanted["valid_loss"]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("lr.share=0", "lr.share must be more than 0 and at most 1, got 0"),
        ("lr.share=8", "lr.share must be more than 0 and at most 1, got 8"),
        ("lr.share=a", "lr.share must be a number, got 'a'"),
        ("lr.after=1.5", "lr.after must be a number of epochs or a fraction of the run, got 1.5"),
        ("lr.after=-1", "lr.after must be a number of epochs or a fraction of the run, got -1"),
    ],
)
def test_what_is_no_part_of_a_rate_or_of_a_run_is_refused(setting, sentence, toy):
    with pytest.raises(UserError, match=sentence):
        toy("run", "lr=lowered", setting)
