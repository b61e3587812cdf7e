"""What libraries say that does not concern a reader of a search's output."""

import logging
import warnings


def quiet_libraries() -> None:
    """Silence Lightning's notices about devices, loggers and hints, and the like of others, in this process."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it announces its font cache
    logging.getLogger("torch.multiprocessing").setLevel(logging.ERROR)  # which process it ends after another has failed
    for exporter in ("onnxscript", "onnx_ir", "torch.onnx"):  # they tell of every rewritten node
        logging.getLogger(exporter).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
