"""Measure the data path on made-up images of CIFAR-10's number and size: loaders, decoding, cache, workers, the table.

    python -m speed.data [--images 50000] [--workers 2] [--passes 3] [--root ZIP]

Rates are in images per second through the whole loader, as the training step gets them: cropped, flipped, normalised,
float32; for the search loader both halves count. Each is the median of `passes` passes after one for warming up. The zip is
of JPEGs as `dataset=folder` reads them; --root takes a real one.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nas_lightning.data import Dataset, Fake, Folder, SearchData, TrainData
from nas_lightning.data.images import resize
from nas_lightning.tabular.nb201_table import NB201_SIZE, NB201_SPLITS, NB201Table, nb201_decode

_LARGE_SIDE = 224


def seconds(action: Callable[[], object], passes: int) -> float:
    """Median over `passes` calls, after one that does not count."""
    times = []
    for _ in range(passes + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def images_per_second(batches: Iterable[Any], passes: int) -> float:
    """Through a loader of (x, y), or a combined one of {"train": (x, y), "valid": (x, y)}."""
    count = 0

    def one_pass() -> None:
        nonlocal count
        count = 0
        for batch in batches:
            parts = batch[0].values() if isinstance(batch[0], dict) else [batch]
            count += sum(len(labels) for _, labels in parts)

    duration = seconds(one_pass, passes)
    return count / duration


def loader_rates(dataset: Dataset, workers: int, passes: int, suffix: str) -> dict[str, float]:
    search = SearchData(dataset, batch_size=64, num_workers=workers)
    train = TrainData(dataset, batch_size=96, cutout=dataset.side // 2, num_workers=workers)
    train.__dict__["splits"] = search.splits  # decoded once
    return {
        f"search_loader{suffix}_images_per_s": images_per_second(search.train_dataloader(), passes),
        f"train_loader_cutout{suffix}_images_per_s": images_per_second(train.train_dataloader(), passes),
    }


def write_zip(place: Path, count: int, side: int) -> str:
    """JPEGs of smooth colours under some noise, about as large as those of photographs, in ten classes."""
    generator = torch.Generator().manual_seed(0)
    with zipfile.ZipFile(place, "w") as archive:
        for start in range(0, count, 500):
            coarse = torch.randint(256, (min(500, count - start), 3, side // 4, side // 4), generator=generator)
            pixels_NHW3 = resize(coarse.to(torch.uint8), side).permute(0, 2, 3, 1)
            for number, pixels in enumerate(pixels_NHW3.numpy(), start):
                data = io.BytesIO()
                Image.fromarray(np.ascontiguousarray(pixels)).save(data, "JPEG", quality=90)
                archive.writestr(f"train/{number % 10}/{number}.jpg", data.getvalue())
    return str(place)


def decoding(root: str, cache: Path, passes: int) -> dict[str, float]:
    """Opening and loading a folder data set: all decoded, then from the cache."""

    def load(folder: Path | None) -> int:
        return len(Folder(root, cache=None if folder is None else str(folder)).load(progress=False).train)

    count = load(cache)
    (kept,) = cache.iterdir()
    cold = seconds(lambda: load(None), 1)
    cached = seconds(lambda: load(cache), passes)
    return {
        "images": count,
        "cold_load_s": cold,
        "cold_load_images_per_s": count / cold,
        "cached_load_s": cached,
        "cached_load_images_per_s": count / cached,
        "cache_file_mb": kept.stat().st_size / 1e6,
    }


def table_times(folder: Path, passes: int) -> dict[str, float]:
    columns = [f"{split}_200" for split in NB201_SPLITS]
    rows = np.random.default_rng(0).uniform(10, 95, (NB201_SIZE, len(columns))).round(3)
    path = folder / "table.npz"
    NB201Table.from_rows(columns, dict(enumerate(rows.tolist())), "made up").save(path)
    table, texts = NB201Table.load(path), [nb201_decode(code) for code in range(0, NB201_SIZE, 25)]
    queries = seconds(lambda: [table.query_string(text) for text in texts], passes)
    return {
        "nb201_load_s": seconds(lambda: NB201Table.load(path), passes),
        "nb201_query_us": queries / len(texts) * 1e6,
    }


def measure(
    images: int = 50_000, workers: int = 2, passes: int = 3, root: str | None = None, large_images: int = 1000
) -> dict[str, float]:
    """Name -> value; the unit ends the name."""
    held = Fake(train_images=images)
    results: dict[str, float] = {"dataset_in_memory_mb": images * 3 * held.side**2 / 1e6}
    results |= loader_rates(held, 0, passes, "")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small = root or write_zip(folder / "small.zip", images, held.side)
        results |= decoding(small, folder / "cache", passes)
        results |= loader_rates(Folder(small, memory_limit_gb=0), workers, passes, f"_streamed_{workers}_workers")
        large = Folder(write_zip(folder / "large.zip", large_images, _LARGE_SIDE), memory_limit_gb=0)
        results |= loader_rates(large, workers, passes, f"_streamed_{_LARGE_SIDE}px_{workers}_workers")
        results |= table_times(folder, passes)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 50_000), ("workers", 2), ("passes", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--root")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, {vars(args)}")
    for name, value in measure(args.images, args.workers, args.passes, args.root).items():
        print(f"{name:58s} {value:12,.4g}" if value < 1000 else f"{name:58s} {value:12,.0f}")


if __name__ == "__main__":
    main()
