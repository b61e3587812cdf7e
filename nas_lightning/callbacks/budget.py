"""How a search stands to its budget."""

from collections.abc import Mapping

import pytorch_lightning as pl

from nas_lightning.penalties import ExpectedCost
from nas_lightning.supernet.module import SupernetModule


class BudgetLog(pl.Callback):
    """Logs each epoch `derived_<kind>`, the cost of the derived architecture's network, and `expected_<kind>`, what beta lets
    expect at the search's temperature (see `ExpectedCost`): parameters, multiply-adds, milliseconds.

    limits: kind -> the budget, by which `cost` counts.
    """

    def __init__(self, cost: ExpectedCost, limits: Mapping[str, float]) -> None:
        self.cost = cost
        self.limits = limits

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        derived = self.cost.of(pl_module.genotype())
        expected = dict(zip(self.cost.kinds, self.cost.expected(pl_module.architecture.view()).tolist(), strict=True))
        shares = {f"derived_{kind}": share for kind, share in derived.items()}
        shares |= {f"expected_{kind}": share for kind, share in expected.items()}
        costs = {name: share * self.limits[name.partition("_")[2]] for name, share in shares.items()}
        pl_module.log_dict(costs, logger=False)
