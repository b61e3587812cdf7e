"""How fast the search is, on this machine: python -m speed [--quick]

    python -m speed                 # all of it, about three quarters of an hour on two idle cores: table, JSON, document, plot
    python -m speed --quick         # small sizes, a minute; writes nothing unless --out says where
    python -m speed show [JSON]     # the tables of a record
    python -m speed plot [JSON]     # docs/performance.svg and .png from a record alone
    python -m speed document [JSON] # the tables of docs/performance.md and docs/methods/ from a record
    python -m speed --only methods --out JSON  # a part, put into the record JSON where there is one

Ours and the per-edge reference take turns (A B A B), the first round does not count, and ratios are taken round by round:
other work on the machine slows both. Medians with quartiles.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

_DOCS = Path(__file__).parent.parent / "docs"


def documents() -> list[Path]:
    """The pages that hold tables of a record."""
    return [_DOCS / "performance.md", *sorted((_DOCS / "methods").glob("*.md"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=("run", "show", "plot", "document"), default="run")
    parser.add_argument(
        "record", nargs="?", type=Path, help="of show, plot and document; default: the one of this machine"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", help="parts, separated by commas")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    console = Console()
    if args.action == "run":
        _run(args, console)
        return
    from speed import record

    kept = record.read(args.record or record.RESULTS / f"{_this_machine()}.json")
    _finish(args.action, kept, console)


def _run(args: argparse.Namespace, console: Console) -> None:
    # The profiler announces itself and a missing GPU on stderr, before it can be told not to.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    # Threads that spin while they wait make every small operation wait for the scheduler once a machine is shared: a step
    # of small operations took forty times as long beside four busy processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from speed import measure, record
    from speed.loop import quieten

    quieten()
    torch.set_num_threads(args.threads)
    only = args.only.split(",") if args.only else None
    whole = not (args.quick or only)
    out = args.out or (record.RESULTS / f"{_this_machine()}.json" if whole else None)
    scale = measure.QUICK if args.quick else measure.FULL
    result = measure.run(scale, only, lambda text: print(text, file=sys.stderr), out)
    if out is not None:
        result = record.read(out)  # with the digits that the tables are later made from
        console.print(f"Written: {out}")
    _finish("show", result, console)
    if whole and args.out is None:
        for action in ("plot", "document"):
            _finish(action, result, console)


def _this_machine() -> str:
    import torch

    from speed.record import heading

    return str(heading(torch.device("cpu"))["hardware"])


def _finish(action: str, kept: dict, console: Console) -> None:  # type: ignore[type-arg]
    from speed import gpu_tables, record, tables

    if action == "show":
        for table in tables.tables(kept):
            table.show(console)
        console.print(tables.origin(kept))
    elif action == "plot":
        from speed.plot import plot

        plot(kept, _DOCS / "performance")
    else:
        contents = tables.document_contents(kept, record.read(record.PUBLISHED))
        contents |= gpu_tables.contents(gpu_tables.newest())
        for document in documents():
            tables.write_document(document, contents)


if __name__ == "__main__":
    main()
