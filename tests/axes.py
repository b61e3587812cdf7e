"""The options of every config group, from the folders, and what makes a toy search of each."""

from tests.conftest import ROOT

# What a search of four epochs needs of a choice that is made for fifty.
TOY_SCALE = {
    "perturbation=uniform_paths": ("perturbation.share=1.0",),  # a toy has few steps
    "decision=edge_confidence": ("decision.start=0", "decision.interval=1"),
    "stages=darts_pt": (
        "stages.stages.search.epochs=2", "stages.stages.projection.epochs=2",
        "stages.stages.projection.decision.interval=1",
    ),
    "stop=eigenvalue": ("stop.window=1", "stop.delta=1", "stop.factor=1.0", "stop.start=0"),
    "stop=stable_ranking": ("stop.patience=2",),
    "stop=first_epoch": ("stop.epochs=2",),
    "selection=before_eigenvalue_jump": (
        "selection.window=1", "selection.delta=1", "selection.factor=1.0", "selection.start=0",
    ),
    "selection=stable_ranking": ("selection.patience=2",),
    "stages=drnas": ("space.partial=4",),  # operations can get wider
    "bilevel=second_order": ("bilevel.radius=1e-3",),
    "relaxation=dirichlet": ("sched=constant",),
    "penalty=dirichlet_kl": ("relaxation=dirichlet", "sched=constant"),
    "relaxation=simplex": ("arch_optimizer=exponentiated_gradient", "sched=constant"),
}  # fmt: skip


def options(group):
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def toy_choice(group, option):
    """The overrides of a toy search with this choice."""
    choice = f"{group}={option}"
    return choice, *TOY_SCALE.get(choice, ())
