"""A trained network for use elsewhere: its weights, read and written, and its export as ONNX or by torch.export."""

import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas_lightning.errors import UserError, check_flag, is_whole
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import replace_atomically
from nas_lightning.records.received import check_regular, received_json
from nas_lightning.saved import build_saved
from nas_lightning.spaces import SearchSpace
from nas_lightning.training.interface import Interface
from nas_lightning.training.onnx_graph import with_preprocessing

Format = Literal["onnx", "torch"]
FILES: dict[Format, str] = {"onnx": "model.onnx", "torch": "model.pt2"}
_WEIGHTS = Path("found", "weights.pt")
_MOST = {"num_classes": 1_000_000, "image_size": 4_096}
_SLACK = 2**22  # bytes of a file of weights beside them: names, sizes, the directory


def check_export(export: Any, train: bool) -> None:
    """UserError where nothing can be written as the settings `export` say: format and, of ONNX, preprocess."""
    if export is None:
        return
    name = export.get("format") if isinstance(export, Mapping) else export
    if not isinstance(export, Mapping) or name not in FILES:
        raise UserError(f"export must be onnx, torch or null, got {name!r}.")
    check_flag("export.preprocess", export.get("preprocess", False))
    if not train:
        raise UserError(f"export={name} needs a trained network; add train=true.")
    if name == "onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise UserError("export=onnx needs the packages onnx and onnxscript; run pip install -e '.[export]'.")


def save_weights(network: nn.Module, folder: Path, interface: Interface) -> None:
    """Keep what `load_network` reads: all but the auxiliary head, which only training needs.

    The file is a state_dict whose attribute `interface` has the texts of `interface`.
    """
    state = _kept(network)
    vars(state)["interface"] = interface.texts()  # as PyTorch puts its own `_metadata` there
    with replace_atomically(folder / _WEIGHTS) as temporary:
        torch.save(state, temporary)


def file_bytes(network: nn.Module) -> int:
    """Of the file that `save_weights` writes of it, but for the texts."""
    content = io.BytesIO()
    torch.save(_kept(network), content)
    return content.tell()


def _kept(network: nn.Module) -> "OrderedDict[str, Tensor]":
    kept = ((name, value.cpu()) for name, value in network.state_dict().items() if not name.startswith("auxiliary."))
    return OrderedDict(kept)


def load_network(path: str | Path, space: SearchSpace | None = None) -> nn.Module:
    """The trained network of an evaluation: called as network(x_BCHW) -> logits [B, classes], in eval mode, on the CPU.

    path: the evaluation's folder, which holds report.json and found/weights.pt. x must be normalised as the report's
    `normalisation` says. space: None takes that of the report, if it is one of ours: the folder may come from anybody, and
    nothing that it names is run. UserError where there is no trained network.
    """
    folder = Path(path)
    report = _report(folder)
    place = folder / "report.json"
    if space is None:
        own = "if it is a class of yours, give it as nas_lightning.load(folder, space=...)."
        settings = report["config"].get("space") if isinstance(report["config"], dict) else None
        space = build_saved(settings, "space", place, own)
    genotype = Genotype.from_json(json.dumps(report["genotype"]), str(place))
    try:
        # On no device at first, since a few characters can ask for any size.
        with torch.device("meta"):
            _check_size(folder / _WEIGHTS, _without_auxiliary(space.network(genotype, report["num_classes"])))
        network = _without_auxiliary(space.network(genotype, report["num_classes"]))
        network.load_state_dict(torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True))
    except UserError:
        raise
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise UserError(
            f"{folder / _WEIGHTS} does not hold the weights of this network ({type(error).__name__}); train it again with "
            "evaluate train=true."
        ) from error
    return network.eval()


def _without_auxiliary(network: nn.Module) -> nn.Module:
    if "auxiliary" in dict(network.named_children()):
        network.register_module("auxiliary", None)
    return network


def _check_size(weights: Path, network: nn.Module) -> None:
    """ValueError unless the file is the archive that torch writes, packed nowhere, of as many bytes as `network` has."""
    size = check_regular(weights).st_size
    expected = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if not expected <= size <= expected + _SLACK:
        raise ValueError(f"{size} bytes for a network of {expected}")
    with zipfile.ZipFile(weights) as archive:
        parts = archive.infolist()
    if sum(part.file_size for part in parts) > size or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("it is packed")


def read_interface(folder: Path) -> Interface:
    """Of the evaluation in `folder`; UserError where there is no trained network."""
    return Interface.of(_report(folder))


def _report(folder: Path) -> dict[str, Any]:
    if folder.is_file():
        raise UserError(
            f"{folder} is a file, and networks are loaded from a folder; give that of an evaluation with train=true."
        )
    try:
        report: dict[str, Any] = received_json(folder / "report.json")
        evaluation = report["kind"] == "evaluation" and {"genotype", "config"} <= report.keys()
        for key, most in _MOST.items():
            if not is_whole(report[key], 1) or report[key] > most:
                raise ValueError(f"{key}={report[key]!r}")
        Interface.of(report)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no evaluation ({error}); give the folder with its report.json.") from error
    if evaluation and (folder / _WEIGHTS).exists():
        return report
    raise UserError(f"{folder} holds no trained network; give the folder of a finished evaluation with train=true.")


def export_network(folder: Path, export: Format, space: SearchSpace | None = None, preprocess: bool = False) -> Path:
    """Write the trained network of the evaluation in `folder` for any batch size; returns the file.

    space: as of `load_network`. preprocess: of ONNX, see `with_preprocessing`. The file has the texts of the Interface.
    """
    interface = read_interface(folder)
    if preprocess:
        _ = interface.colours  # refused before the long way
    network = load_network(folder, space).to(
        memory_format=torch.contiguous_format
    )  # torch.export warns of weights in another order
    images = torch.zeros(2, 3, interface.image_size, interface.image_size)
    shapes = ({0: torch.export.Dim("batch")},)
    with replace_atomically(folder / FILES[export]) as temporary:
        program = torch.export.export(network, (images,), dynamic_shapes=shapes)
        if export == "torch":
            # Not by its name: torch ends the process where it cannot open one, such as of bytes that are no UTF-8.
            with temporary.open("wb") as file:
                torch.export.save(program, file, extra_files=interface.texts())
        else:
            _write_onnx(program, images, temporary)
            _complete_onnx(temporary, interface, preprocess)
    return folder / FILES[export]


def _write_onnx(program: torch.export.ExportedProgram, images: Tensor, path: Path) -> None:
    torch.onnx.export(
        program, (images,), path, dynamo=True, external_data=False, verbose=False, input_names=["images"],
        output_names=["logits"],
    )  # fmt: skip


def _complete_onnx(path: Path, interface: Interface, preprocess: bool) -> None:
    import onnx

    model = onnx.load(path)
    if preprocess:
        model = with_preprocessing(model, interface)
    onnx.helper.set_model_props(model, interface.texts())
    onnx.save(model, path)
