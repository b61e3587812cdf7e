"""A trained network for use elsewhere: loaded as a plain module, or written as ONNX or by torch.export."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas_lightning.build import build
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import replace_atomically

Format = Literal["onnx", "torch"]
FILES: dict[Format, str] = {"onnx": "model.onnx", "torch": "model.pt2"}
_WEIGHTS = Path("found", "weights.pt")


def check_format(export: Any, train: bool) -> None:
    """UserError where nothing can be written in this format."""
    if export is None:
        return
    if export not in FILES:
        raise UserError(f"export must be onnx, torch or null, got {export!r}.")
    if not train:
        raise UserError(f"export={export} needs a trained network; add train=true.")
    if export == "onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise UserError("export=onnx needs the packages onnx and onnxscript; run pip install -e '.[export]'.")


def save_weights(network: nn.Module, folder: Path) -> None:
    """Keep what `load` reads: all but the auxiliary head, which only training needs."""
    state = {name: value.cpu() for name, value in network.state_dict().items() if not name.startswith("auxiliary.")}
    with replace_atomically(folder / _WEIGHTS) as temporary:
        torch.save(state, temporary)


def load(path: str | Path) -> nn.Module:
    """The trained network of an evaluation: called as network(x_BCHW) -> logits [B, classes], in eval mode, on the CPU.

    path: the evaluation's folder, which holds report.json and found/weights.pt. x must be normalised as the report's
    `normalisation` says. UserError where there is no trained network.
    """
    folder = Path(path)
    report = _report(folder)
    settings = report["config"]["space"]
    if "auxiliary_head" in settings:
        settings = {**settings, "auxiliary_head": False}
    genotype = Genotype.from_json(json.dumps(report["genotype"]), str(folder / "report.json"))
    network: nn.Module = build(settings).network(genotype, report["num_classes"])
    try:
        network.load_state_dict(torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise UserError(
            f"{folder / _WEIGHTS} does not hold the weights of this network ({type(error).__name__}); train it again with "
            "evaluate train=true."
        ) from error
    return network.eval()


def _report(folder: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        if report["kind"] == "evaluation" and (folder / _WEIGHTS).exists():
            return report
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no evaluation ({error}); give the folder with its report.json.") from error
    raise UserError(f"{folder} holds no trained network; give the folder of a finished evaluation with train=true.")


def export_network(folder: Path, export: Format) -> Path:
    """Write the trained network of the evaluation in `folder` for any batch size; returns the file."""
    network = load(folder).to(memory_format=torch.contiguous_format)  # torch.export warns of weights in another order
    side = _report(folder)["image_size"]
    images = torch.zeros(2, 3, side, side)
    shapes = ({0: torch.export.Dim("batch")},)
    with replace_atomically(folder / FILES[export]) as temporary:
        program = torch.export.export(network, (images,), dynamic_shapes=shapes)
        if export == "torch":
            torch.export.save(program, temporary)
        else:
            _write_onnx(program, images, temporary)
    return folder / FILES[export]


def _write_onnx(program: torch.export.ExportedProgram, images: Tensor, path: Path) -> None:
    torch.onnx.export(
        program, (images,), path, dynamo=True, external_data=False, verbose=False, input_names=["images"],
        output_names=["logits"],
    )  # fmt: skip
