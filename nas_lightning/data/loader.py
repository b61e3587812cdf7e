"""Batches whose order and augmentation depend on (seed, epoch, role) alone."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.data.augment import Transform
from nas_lightning.data.images import ImageSet

Order = Literal["shuffled", "replacement", "sequential"]


def stream_seed(seed: int, epoch: int, role: str) -> int:
    """A 63-bit seed for the random stream of one loader in one epoch; streams of other arguments are unrelated."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{role}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class BatchLoader:
    """Yields (x, y): normalised float32 [B, 3, S, S] and int64 [B], on `device`.

    The order and the random numbers of a whole epoch are drawn on the CPU, the same for every device, and copied to a
    GPU once; nothing in here waits for it.

    Args:
        images, indices: the part to load, as indices into the set.
        batch_size: B >= 1.
        transform: applied to whole batches.
        seed, epoch, role: what the randomness is made from. `epoch` is asked when the first batch of an iteration is
            requested, because Lightning makes iterators before it has advanced (or restored) its epoch.
        order: `shuffled` goes once through the part (a last batch of a single image is left out, for batch
            statistics need two); `replacement` draws every image of `num_batches` batches independently; `sequential`
            keeps the order in batches of nearly equal size.
        num_workers: processes that decode images which are not held in memory.
    """

    def __init__(
        self,
        images: ImageSet,
        indices: Tensor,
        batch_size: int,
        transform: Transform,
        seed: int,
        epoch: Callable[[], int],
        role: str,
        order: Order,
        num_batches: int | None = None,
        num_workers: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self._images = images
        self._indices = indices
        self._batch_size = batch_size
        self._transform = transform
        self._seed = seed
        self._epoch = epoch
        self._role = role
        self._order = order
        self._num_workers = num_workers
        self._device = torch.device("cpu") if device is None else device
        whole, rest = divmod(len(indices), batch_size)
        drop_single = order == "shuffled" and rest == 1
        self._num_batches = num_batches if num_batches is not None else whole + (rest > 0 and not drop_single)

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator function: nothing below runs before the first batch is requested.
        generator = torch.Generator().manual_seed(stream_seed(self._seed, self._epoch(), self._role))
        batches = self._index_batches(generator)
        sizes = [len(index_B) for index_B in batches]
        draws = self._transform.draw(sum(sizes), self._images.side, generator).to(self._device).split(sizes)
        loaded = self._images.batches(batches, self._num_workers)
        for (pixels, labels), draw in zip(loaded, draws, strict=True):
            on_device = pixels.to(self._device, non_blocking=True)
            yield self._transform(on_device, draw), labels.to(self._device, non_blocking=True)

    def _index_batches(self, generator: torch.Generator) -> list[Tensor]:
        """int64 [B] for each batch of this epoch."""
        if self._order == "sequential":
            return list(self._indices.tensor_split(self._num_batches))
        if self._order == "replacement":
            drawn = torch.randint(len(self._indices), (self._num_batches, self._batch_size), generator=generator)
            return list(self._indices[drawn])
        shuffled = self._indices[torch.randperm(len(self._indices), generator=generator)]
        return list(shuffled.split(self._batch_size))[: self._num_batches]
