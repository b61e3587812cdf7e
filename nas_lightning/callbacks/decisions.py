"""Takes candidates away between epochs, as a decision or the stages of a search say."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from nas_lightning.bilevel.base import restored
from nas_lightning.decisions.base import Decision, Masks, State
from nas_lightning.errors import UserError, brief
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.stages.base import Stage, Stages, kept
from nas_lightning.streams import stream_seed
from nas_lightning.supernet.module import SupernetModule
from nas_lightning.supernet.ranks import sum_over_ranks


class Decisions(pl.Callback):
    """At an epoch's start, after the temperature has moved: asks, and narrows the masks.

    The state that a decision returns is checkpointed; the masks are buffers of the architecture; the stage follows from the
    epoch. Logs `candidates`, how many operations are left in all.
    """

    def __init__(self, decision: Decision | None, stages: Stages | None) -> None:
        self.decision = decision
        self.stages = stages
        self.state: State = {}
        self._scheduled: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state = state_dict["state"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        stage, done, epochs = self._stage(trainer)
        architecture = pl_module.architecture
        pl_module.alpha_rests = self.stages is not None and not self.stages.trains_alpha(trainer.current_epoch)
        if stage.weight_rate is not None:
            groups = trainer.optimizers[0].param_groups
            self._scheduled = [group["lr"] for group in groups]
            for group in groups:
                group["lr"] = stage.weight_rate
        if done == 0 and stage.keep is not None:
            architecture.narrow(kept(architecture.snapshot(), stage.keep))
        if done == 0 and stage.partial is not None:
            pl_module.widen(stage.partial)
        if done == 0 and stage.decision is not None:
            self.state = {}
        decision = stage.decision or self.decision
        if decision is None or trainer.current_epoch == 0:
            return
        seed = stream_seed(pl_module.seed, trainer.current_epoch, "decision")
        generator = torch.Generator().manual_seed(seed)
        probe = _ValidationProbe(trainer, pl_module)
        answer = decision(done, epochs, architecture.snapshot(), probe, self.state, generator)
        masks, self.state = _checked(decision, answer)
        architecture.narrow(masks)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        # Before the schedule's step, which goes on from the rate it finds: a later stage has the schedule's own.
        for group, rate in zip(trainer.optimizers[0].param_groups, self._scheduled, strict=False):
            group["lr"] = rate
        self._scheduled = []
        left = sum(sum(map(sum, rows)) for rows in pl_module.architecture.candidates.values())
        pl_module.log("candidates", float(left), logger=False)

    def _stage(self, trainer: pl.Trainer) -> tuple[Stage, int, int]:
        """The stage, how many of its epochs are done, and how many it has."""
        epoch = trainer.current_epoch
        if self.stages is None:
            assert trainer.max_epochs is not None
            return Stage(1.0), epoch, trainer.max_epochs
        return *self.stages.at(epoch), self.stages.length(epoch)


def _checked(decision: Decision, answer: object) -> tuple[Masks, State]:
    """`answer` as it is; UserError unless it is masks by cell type and plain data: no checkpoint gives anything else back."""
    name = type(decision).__name__
    if not (isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(part, Mapping) for part in answer)):
        raise UserError(
            f"decision: {name} answers {brief(answer)}; it is the masks by cell type, {{}} for none, and the state, see "
            "docs/extending.md."
        )
    try:
        json.dumps(answer[1])
    except (TypeError, ValueError) as error:
        raise UserError(
            f"decision: {name} remembers what is no plain data ({error}), which an interrupted search would not find again; "
            "keep numbers, texts, lists and dicts."
        ) from error
    return answer


class _ValidationProbe:
    """Loss and accuracy over the images that the discretised accuracy is measured on, over all ranks."""

    def __init__(self, trainer: pl.Trainer, module: SupernetModule) -> None:
        self._trainer = trainer
        self._module = module

    @torch.no_grad()
    def __call__(self, betas: Mapping[str, Tensor]) -> tuple[float, float]:
        architecture, device = self._module.architecture, self._module.device
        weights: dict[str, EdgeWeights] = architecture.weights(
            {name: beta.to(device, architecture.alpha[name].dtype) for name, beta in betas.items()},
            {name: (beta != 0).tolist() for name, beta in betas.items()},
        )
        totals = torch.zeros(3, device=device)
        with restored(self._module.supernet.buffers()):
            for batch in self._batches():
                x, y = self._module.transfer_batch_to_device(batch, device, 0)
                with self._trainer.precision_plugin.forward_context():
                    loss, logits = self._module.halves.loss_at((x, y), weights)
                totals += torch.stack(
                    [loss.float() * len(y), (logits.argmax(1) == y).sum().float(), totals.new_tensor(len(y))]
                )
        loss_sum, hits, count = sum_over_ranks(totals).tolist()
        return loss_sum / count, hits / count

    def _batches(self) -> Iterable[Any]:
        data: Any = self._trainer.datamodule  # type: ignore[attr-defined]
        return data.val_dataloader()
