"""Batches from worker processes, such that a Ctrl-C is never lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from nas_lightning.errors import UserError


def batches_of(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches of `loader`; one that is a UserError is raised.

    An exception would leave the worker wrapped in its traceback; as a value it stays a sentence.
    """
    with _interrupted_afterwards():
        batches = iter(loader)
    last = len(loader) - 1
    for index, batch in enumerate(batches):
        if isinstance(batch, UserError):
            raise batch
        if index == last:
            next(batches, None)  # ends the workers here and not in a destructor, where a Ctrl-C is lost too
        yield batch


@contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Hold a Ctrl-C back: Python ignores what is raised in the hooks of a fork, so that the run would simply go on.

    The workers keep this handler: only the main process answers a Ctrl-C, and ends them.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers, or hears one
        yield
        return
    received: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if received and callable(previous):
        previous(signal.SIGINT, None)
