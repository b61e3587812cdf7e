"""Batches whose order and augmentation depend on (seed, epoch, role) alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.data.augment import Transform
from nas_lightning.data.images import ImageSet
from nas_lightning.streams import stream_seed

Order = Literal["shuffled", "replacement", "first_shuffled", "in_turn", "sequential"]


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
            statistics need two). Those with `num_batches`: `replacement` draws every image independently, `first_shuffled`
            takes each batch from a new order, `in_turn` goes through the part as often as it takes, each time in a new
            order. `sequential` keeps the order in batches of nearly equal size.
        num_workers: processes that decode images which are not held in memory.
        rank, world_size: of the processes that share the work. Shuffled and drawn batches are those of one process with
            world_size * B, augmentation included, of which each rank has an equal part in turn; at most world_size - 1
            images of the last one are left out. Of the sequential batches a rank has every world_size-th.
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
        rank: int = 0,
        world_size: int = 1,
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
        self._rank, self._world_size = rank, world_size
        if order == "sequential":
            self._num_batches = max(-(-len(indices) // batch_size), world_size)
        elif num_batches is not None:
            self._num_batches = num_batches
        else:
            self._num_batches = self._in_a_pass

    def __len__(self) -> int:
        return (
            len(range(self._rank, self._num_batches, self._world_size))
            if self._order == "sequential"
            else self._num_batches
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator function: nothing below runs before the first batch is requested.
        generator = torch.Generator().manual_seed(stream_seed(self._seed, self._epoch(), self._role))
        whole = self._index_batches(generator)
        index_N = torch.cat(whole)
        own = self._own_part(torch.arange(len(index_N)).split([len(batch) for batch in whole]))
        drawn = self._transform.draw(len(index_N), self._images.side, generator).of(torch.cat(own))
        draws = drawn.to(self._device).split([len(places) for places in own])
        loaded = self._images.batches([index_N[places] for places in own], self._num_workers)
        for (pixels, labels), draw in zip(loaded, draws, strict=True):
            on_device = pixels.to(self._device, non_blocking=True)
            yield self._transform(on_device, draw), labels.to(self._device, non_blocking=True)

    def _index_batches(self, generator: torch.Generator) -> list[Tensor]:
        """int64 indices of each batch of this epoch, those of all ranks together."""
        if self._order == "sequential":
            return list(self._indices.tensor_split(self._num_batches))
        size = self._batch_size * self._world_size
        if self._order == "replacement":
            return list(
                self._indices[torch.randint(len(self._indices), (self._num_batches, size), generator=generator)]
            )
        if self._order == "first_shuffled":
            return [self._shuffled(generator)[:size] for _ in range(self._num_batches)]
        batches = self._pass(generator, size)
        while self._order == "in_turn" and len(batches) < self._num_batches:
            batches += self._pass(generator, size)
        return batches[: self._num_batches]

    def _pass(self, generator: torch.Generator, size: int) -> list[Tensor]:
        """Once through the part, which comes whole where it is too small for a batch."""
        return list(self._shuffled(generator).split(size))[: max(1, self._in_a_pass)]

    @property
    def _in_a_pass(self) -> int:
        """Batches of one pass; a rest that leaves a rank a single image is left out."""
        whole, rest = divmod(len(self._indices), self._batch_size * self._world_size)
        return whole + (rest // self._world_size >= 2)

    def _shuffled(self, generator: torch.Generator) -> Tensor:
        return self._indices[torch.randperm(len(self._indices), generator=generator)]

    def _own_part(self, batches: Sequence[Tensor]) -> list[Tensor]:
        if self._order == "sequential":
            return list(batches[self._rank :: self._world_size])
        shares = [len(batch) // self._world_size for batch in batches]
        return [batch[self._rank * share :][:share] for batch, share in zip(batches, shares, strict=True)]
