"""The NAS-Bench-201 table: every source gives the same numbers, and bad files are refused in one sentence."""

import bz2
import csv
import io
import itertools
import os
import pickle
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.genotypes.nb201 import NB201_OPERATIONS, parse_nb201, read_nb201
from nas_lightning.tabular.nb201 import OWN, NB201Table, main, nb201_code, open_table, read_sources

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("NAS_LIGHTNING_SHARED", ROOT.parent / "shared" / "data")) / "nb201"
needs_csvs = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"no NAS-Bench-201 CSV files at {SHARED}; set NAS_LIGHTNING_SHARED to the folder above"
)

SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
CONV = SKIP.replace("skip_connect", "nor_conv_3x3")
MIXED = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|"
# Data set of the benchmark, its evaluation sets, and its seeds: 12 and 200 epochs have different ones in reality too.
RUNS = {
    "cifar10-valid": (("x-valid", "ori-test"), {12: (777, 888), 200: (777, 888, 999)}),
    "cifar10": (("ori-test",), {12: (777,), 200: (777, 888)}),
    "cifar100": (("ori-test", "x-valid", "x-test"), {12: (777,), 200: (777, 999)}),
    "ImageNet16-120": (("ori-test", "x-valid", "x-test"), {12: (777,), 200: (777, 888, 999)}),
}
KEYS = {
    "cifar10_valid": ("cifar10-valid", "x-valid"),
    "cifar10_test": ("cifar10", "ori-test"),
    "cifar100_valid": ("cifar100", "x-valid"),
    "cifar100_test": ("cifar100", "x-test"),
    "imagenet16_120_valid": ("ImageNet16-120", "x-valid"),
    "imagenet16_120_test": ("ImageNet16-120", "x-test"),
}


def accuracy(index: int, dataset: str, evaluation: str, seed: int, epochs: int) -> float:
    """A different number for every trial and set, so that a wrong key or a forgotten seed shows."""
    place = list(RUNS).index(dataset) * 10 + RUNS[dataset][0].index(evaluation)
    return place + 0.5 * index + seed / 1000 + (epochs == 200) * 40


def expected_scores(index: int) -> dict[str, float]:
    scores = {}
    for epochs in (12, 200):
        for key, (dataset, evaluation) in KEYS.items():
            seeds = RUNS[dataset][1][epochs]
            scores[f"{key}_{epochs}"] = sum(accuracy(index, dataset, evaluation, s, epochs) for s in seeds) / len(seeds)
    return scores


def official_trial(index: int, arch: str, dataset: str, seed: int, epochs: int) -> dict[str, Any]:
    names = RUNS[dataset][0]
    per_epoch = [(name, epoch) for name in names for epoch in range(epochs)]
    # Epochs before the last one get 1 %: only the last counts.
    last = {name: accuracy(index, dataset, name, seed, epochs) for name in names}
    return {
        "name": "infer.tiny",
        "net_state_dict": None,
        "train_acc1es": dict.fromkeys(range(epochs), 99.0),
        "train_acc5es": dict.fromkeys(range(epochs), 99.0),
        "train_losses": dict.fromkeys(range(epochs), 0.1),
        "train_times": dict.fromkeys(range(epochs), 1.0),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": arch, "class_num": 10},
        "params": 0.1,
        "flop": 10.0,
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01],
        "eval_names": list(names),
        "eval_acc1es": {f"{name}@{e}": last[name] if e == epochs - 1 else 1.0 for name, e in per_epoch},
        "eval_losses": {f"{name}@{e}": 1.0 for name, e in per_epoch},
        "eval_times": {f"{name}@{e}": 1.0 for name, e in per_epoch},
    }


def official_results(index: int, arch: str, epochs: int) -> dict[str, Any]:
    seeds = {dataset: list(runs[1][epochs]) for dataset, runs in RUNS.items()}
    trials = {
        (dataset, seed): official_trial(index, arch, dataset, seed, epochs)
        for dataset, of_dataset in seeds.items()
        for seed in of_dataset
    }
    return {
        "arch_index": index,
        "arch_str": arch,
        "clear_net_done": True,
        "dataset_seed": seeds,
        "all_results": trials,
    }


def official_dict(archs: list[str]) -> dict[str, Any]:
    infos = {i: {"less": official_results(i, a, 12), "full": official_results(i, a, 200)} for i, a in enumerate(archs)}
    return {
        "meta_archs": archs,
        "total_archs": len(archs),
        "evaluated_indexes": set(range(len(archs))),
        "arch2infos": infos,
    }


@pytest.fixture(scope="module")
def pth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "NAS-Bench-201-v1_1-small.pth"
    torch.save(official_dict([CONV, SKIP, MIXED]), path)
    return path


def write_csv(path: Path, lines: list[str], header: str = "index,arch,cifar10_test,cifar100_test") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture
def table(tmp_path: Path) -> NB201Table:
    return read_sources(
        [write_csv(tmp_path / "small_200epochs.csv", [f"0,{CONV},94.3733,73.5133", f"1,{MIXED},50,20.25"])]
    )


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text
    return text


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as error:
        action()
    return one_sentence(error.value)


# --- the table ---------------------------------------------------------------------------------------------------


def test_every_architecture_has_its_own_row_in_product_order() -> None:
    strings = (
        f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        for a, b, c, d, e, f in itertools.product(NB201_OPERATIONS, repeat=6)
    )
    assert [nb201_code(parse_nb201(text)) for text in strings] == list(range(15_625))


def test_a_saved_table_answers_as_before(table: NB201Table, tmp_path: Path) -> None:
    table.save(tmp_path / "table.npz")
    loaded = NB201Table.load(tmp_path / "table.npz")
    assert loaded.query_string(CONV) == {"cifar10_test_200": 94.3733, "cifar100_test_200": 73.5133}
    assert loaded.query(parse_nb201(MIXED)) == {"cifar10_test_200": 50.0, "cifar100_test_200": 20.25}
    assert loaded.sources == ("small_200epochs.csv",)
    assert len(loaded) == 2
    assert [path.name for path in tmp_path.glob("*.npz")] == ["table.npz"]


def test_a_table_holds_no_pickle(table: NB201Table, tmp_path: Path) -> None:
    table.save(tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz", allow_pickle=False) as file:
        assert {name: file[name].dtype.kind for name in file.files} == {
            "schema": "U",
            "columns": "U",
            "sources": "U",
            "accuracy": "f",
        }


def test_an_architecture_outside_the_table_is_named(table: NB201Table) -> None:
    message = refusal(lambda: table.query_string(SKIP))
    assert SKIP in message
    assert "small_200epochs.csv" in message


@pytest.mark.parametrize(
    "genotype",
    [
        Genotype("darts", {"normal": (Choice("sep_conv_3x3", 0, 2),)}),
        Genotype("darts", parse_nb201(CONV).cells),
        Genotype("nb201", {"cell": parse_nb201(CONV).cells["cell"][:5]}),
        Genotype("nb201", {"cell": parse_nb201(CONV).cells["cell"][::-1]}),
        Genotype("nb201", {"cell": (Choice("sep_conv_3x3", 0, 1), *parse_nb201(CONV).cells["cell"][1:])}),
    ],
)
def test_a_genotype_of_another_space_is_refused_by_its_space(genotype: Genotype, table: NB201Table) -> None:
    message = refusal(lambda: table.query(genotype))
    assert repr(genotype.space) in message
    assert "benchmark=none" in message


# --- the official files ------------------------------------------------------------------------------------------


def test_the_official_file_is_averaged_over_its_seeds(pth: Path) -> None:
    table = read_sources([pth], trust=True)
    assert len(table) == 3
    for index, arch in enumerate([CONV, SKIP, MIXED]):
        assert table.query_string(arch) == pytest.approx(expected_scores(index), abs=1e-4)


def test_our_averages_equal_the_official_interface(pth: Path) -> None:
    from nas_201_api import NASBench201API

    api = NASBench201API(torch.load(pth, weights_only=False), verbose=False)
    scores = read_sources([pth], trust=True).query_string(SKIP)
    index = api.query_index_by_arch(SKIP)
    for epochs in (12, 200):
        valid = api.get_more_info(index, "cifar10-valid", hp=str(epochs), is_random=False)["valid-accuracy"]
        assert scores[f"cifar10_valid_{epochs}"] == pytest.approx(valid, abs=1e-4)
        for key, dataset in (("cifar10", "cifar10"), ("cifar100", "cifar100"), ("imagenet16_120", "ImageNet16-120")):
            info = api.get_more_info(index, dataset, hp=str(epochs), is_random=False)
            assert scores[f"{key}_test_{epochs}"] == pytest.approx(info["test-accuracy"], abs=1e-4)
            if dataset != "cifar10":
                assert scores[f"{key}_valid_{epochs}"] == pytest.approx(info["valid-accuracy"], abs=1e-4)


def test_the_first_version_of_the_official_file_leaves_unknown_scores_out(tmp_path: Path) -> None:
    data = official_dict([SKIP])
    less = data["arch2infos"][0]["less"]
    less["dataset_seed"] = {"cifar10-valid": less["dataset_seed"]["cifar10-valid"]}
    torch.save(data, tmp_path / "v1_0.pth")
    scores = read_sources([tmp_path / "v1_0.pth"], trust=True).query_string(SKIP)
    assert sorted(key for key in scores if key.endswith("_12")) == ["cifar10_valid_12"]
    assert len(scores) == 7


def test_a_nats_bench_folder_gives_the_numbers_of_the_official_file(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench", reason="the optional package nats-bench is not installed")
    write_nats_folder(tmp_path, [CONV, SKIP, MIXED])
    # A partial download: the meta file lists every architecture.
    (tmp_path / "000000.pickle.pbz2").unlink()
    table = read_sources([tmp_path], trust=True)
    assert len(table) == 2
    for index, arch in enumerate([SKIP, MIXED], start=1):
        assert table.query_string(arch) == pytest.approx(expected_scores(index), abs=1e-4)


def write_nats_folder(folder: Path, archs: list[str]) -> None:
    def dump(name: str, content: object) -> None:
        (folder / f"{name}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content)))

    dump("meta", {"meta_archs": archs, "total_archs": len(archs), "evaluated_indexes": set(range(len(archs)))})
    for index, arch in enumerate(archs):
        dump(f"{index:06d}", {str(epochs): official_results(index, arch, epochs) for epochs in (12, 200)})


def test_pickles_are_not_read_before_the_user_trusts_them(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    folder = tmp_path / "nats"
    folder.mkdir()
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(Bomb())))
    torch.save(Bomb(), tmp_path / "bomb.pth")
    for source in (tmp_path / "bomb.pth", folder):
        for action in (lambda source=source: read_sources([source]), lambda source=source: open_table(source)):
            message = refusal(action)
            assert str(source) in message
            assert "--trust" in message
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(UserError):
        read_sources([tmp_path / "bomb.pth"], trust=True)
    assert (tmp_path / "exploded").exists(), "the bomb is a dud, so this test shows nothing"


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_official_file_is_refused(kept: float, pth: Path, tmp_path: Path) -> None:
    whole = pth.read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    message = refusal(lambda: read_sources([path], trust=True))
    assert str(path) in message
    assert "download it again" in message


def test_an_official_file_of_another_structure_is_refused(tmp_path: Path) -> None:
    no_archs, no_result, too_high, other_space = (official_dict([SKIP]) for _ in range(4))
    no_archs["arch2infos"] = {}
    del no_result["arch2infos"][0]["full"]["all_results"]["cifar100", 999]
    for trial in too_high["arch2infos"][0]["less"]["all_results"].values():
        trial["eval_acc1es"] = dict.fromkeys(trial["eval_acc1es"], 101.0)
    other_space["meta_archs"] = ["|sep_conv_3x3~0|"]
    for content in ({"state_dict": {}}, [1, 2], no_archs, no_result, too_high, other_space):
        torch.save(content, tmp_path / "other.pth")
        assert str(tmp_path / "other.pth") in refusal(lambda: read_sources([tmp_path / "other.pth"], trust=True))


def test_a_truncated_nats_bench_folder_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench", reason="the optional package nats-bench is not installed")
    write_nats_folder(tmp_path, [CONV])
    path = tmp_path / "000000.pickle.pbz2"
    path.write_bytes(path.read_bytes()[:-50])
    assert str(tmp_path) in refusal(lambda: read_sources([tmp_path], trust=True))


def test_a_missing_nats_bench_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nats_folder(tmp_path, [])
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    assert "pip install nats-bench" in refusal(lambda: read_sources([tmp_path], trust=True))


# --- CSV files ---------------------------------------------------------------------------------------------------


def test_csv_files_and_an_old_table_merge_column_by_column(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    write_csv(tmp_path / "csv" / "nb201_200epochs_test.csv", [f"7,{SKIP},54.2967,15.6067", f"8,{CONV},94.1,73.2"])
    write_csv(tmp_path / "csv" / "nb201_12epochs.csv", [f"{CONV},85.5"], "arch,cifar10_valid")
    write_csv(tmp_path / "more.csv", [f"{SKIP},16.3222"], "arch,imagenet16_120_test")
    read_sources([tmp_path / "more.csv"], epochs=200).save(tmp_path / "more.npz")
    merged = read_sources([tmp_path / "more.npz", tmp_path / "csv"])
    assert merged.columns == ("cifar10_valid_12", "cifar10_test_200", "cifar100_test_200", "imagenet16_120_test_200")
    assert merged.query_string(SKIP) == {
        "cifar10_test_200": 54.2967,
        "cifar100_test_200": 15.6067,
        "imagenet16_120_test_200": 16.3222,
    }
    assert merged.query_string(CONV) == {"cifar10_valid_12": 85.5, "cifar10_test_200": 94.1, "cifar100_test_200": 73.2}


def test_a_column_given_twice_is_refused_by_name(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "a_12epochs.csv", [f"0,{SKIP},10,20"])
    second = write_csv(tmp_path / "b_12epochs.csv", [f"0,{SKIP},3,4"])
    message = refusal(lambda: read_sources([first, second]))
    for named in ("cifar10_test_12", "a_12epochs.csv", "b_12epochs.csv"):
        assert named in message


def test_a_byte_order_mark_blank_lines_and_other_columns_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x_12epochs.csv"
    path.write_bytes(f"arch,params, cifar10_test\r\n\r\n{SKIP},0.07,36.84\r\n".encode("utf-8-sig"))
    assert read_sources([path]).query_string(SKIP) == {"cifar10_test_12": 36.84}


@pytest.mark.parametrize(
    ("lines", "header", "named"),
    [
        ([f"0,{SKIP}"], "index,arch", "cifar10_test"),
        (["0,54.3"], "index,cifar10_test", "column arch"),
        ([], "", "column arch"),
        ([], "index,arch,cifar10_test", "no architectures"),
        ([f"0,{SKIP},1,2"], "index,arch,cifar10_test,cifar10_test", "twice"),
        ([f"0,{CONV},1", f"1,{SKIP},2", f"2,{CONV},3"], "index,arch,cifar10_test", "line 4"),
        ([f"0,{CONV},1", "1,|none~0|,2"], "index,arch,cifar10_test", "line 3"),
        ([f"0,{CONV},1", f"1,{SKIP.replace('skip', 'jump')},2"], "index,arch,cifar10_test", "'jump_connect'"),
        ([f"0,{CONV},1", f"1,{SKIP}"], "index,arch,cifar10_test", "line 3"),
        ([f"0,{CONV},ninety"], "index,arch,cifar10_test", "'ninety' in column cifar10_test, line 2"),
        ([f"0,{CONV},10,"], "index,arch,cifar10_test,cifar100_test", "the column cifar100_test_12"),
        ([f"0,{CONV},9_0"], "index,arch,cifar10_test", "'9_0' in column cifar10_test, line 2"),
        ([f"0,{CONV},94.3%"], "index,arch,cifar10_test", "'94.3%' in column cifar10_test, line 2"),
        ([f"0,{CONV},94,37"], "index,arch,cifar10_test", "line 2"),
        ([f"0;{CONV};1.094,37"], "index;arch;cifar10_test", "'1.094,37' in column cifar10_test, line 2"),
        (
            [f"0,{CONV},0.94,70", f"1,{SKIP},1.0,10"],
            "index,arch,cifar10_test,cifar100_test",
            "from 0.94 to 1, as fractions",
        ),
        ([f"0,{CONV},94"], "index,arch,CIFAR10-test", "lacks the column"),
        ([f"0,{CONV},94,70"], "index,arch,cifar10_test,CIFAR100 test acc", "the column CIFAR100 test acc"),
        ([f"0,{CONV},nan"], "index,arch,cifar10_test", "'nan' in column cifar10_test, line 2"),
        ([f"0,{CONV},100.5"], "index,arch,cifar10_test", "'100.5' in column cifar10_test, line 2"),
        ([f"0,{CONV},-1"], "index,arch,cifar10_test", "'-1' in column cifar10_test, line 2"),
    ],
)
def test_a_broken_csv_file_is_refused_by_place(lines: list[str], header: str, named: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x_12epochs.csv", lines, header)
    message = refusal(lambda: read_sources([path]))
    assert named in message
    assert str(path) in message


@pytest.mark.parametrize(
    "content",
    [
        f"arch;cifar10_test;cifar100_test\r\n{CONV};94,37;73,5\r\n{SKIP};54,3;\r\n",
        f"arch\tcifar10_test\tcifar100_test\n{CONV}\t94.37\t73.5\n{SKIP}\t5.43e1\t \n",
        f'arch,cifar10_test,cifar100_test\r{CONV},"94,37","73,50"\r{SKIP},54.3,\r',
    ],
    ids=["semicolons, decimal commas, CRLF", "tabs, exponents, LF", "quoted decimal commas, CR"],
)
def test_spreadsheets_of_other_places_are_read_and_a_blank_cell_is_not_known(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x_12epochs.csv"
    path.write_bytes(content.encode("utf-8-sig"))
    table = read_sources([path])
    assert table.query_string(CONV) == {"cifar10_test_12": 94.37, "cifar100_test_12": 73.5}
    assert table.query_string(SKIP) == {"cifar10_test_12": 54.3}
    assert caplog.messages == [f"{path}: 1 blank cells are taken as not known."]


def test_columns_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(tmp_path / "x_12epochs.csv", [f"0,{CONV},94,0.07,5"], "index,arch,cifar10_test,params,flops")
    assert read_sources([path]).columns == ("cifar10_test_12",)
    assert caplog.messages == [f"{path}: what is not read are the columns params, flops."]


@pytest.mark.parametrize(
    ("values", "named"), [((0.2, 0.94), "fractions"), ((-1, 90), "from -1 to 90"), ((20, 101), "to 101")]
)
def test_a_table_of_no_percentages_is_refused(values: tuple[float, float], named: str, tmp_path: Path) -> None:
    NB201Table.from_rows(["cifar10_test_200"], {0: values[:1], 7: values[1:]}, "x.csv").save(tmp_path / "x.npz")
    message = refusal(lambda: open_table(tmp_path / "x.npz"))
    assert named in message
    assert f"the column cifar10_test_200 of {tmp_path / 'x.npz'}" in message


@needs_csvs
def test_an_index_is_that_of_the_published_files() -> None:
    for name in ("nb201_200epochs_test.csv", "nb201_12epochs.csv"):
        with (SHARED / name).open(newline="") as file:
            assert all(str(read_nb201(line["index"])) == line["arch"] for line in csv.DictReader(file))


@pytest.mark.parametrize(("cut", "last"), [(1, 15.6), (3, 15.0), (5, None)])
def test_a_csv_file_that_ends_within_a_line_is_read_with_a_warning(
    cut: int, last: float | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_csv(tmp_path / "small_200epochs.csv", [f"0,{CONV},94.3733,73.5133", f"1,{SKIP},54.29,15.6"])
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_sources([path]).query_string(SKIP).get("cifar100_test_200") == last
    warning = f"{path}: no line end after the last line; if the file was cut, its last number is wrong."
    assert warning in caplog.messages


def test_a_table_of_some_architectures_is_said_where_it_is_used(
    table: NB201Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table.save(tmp_path / "some.npz")
    open_table(tmp_path / "some.npz")
    assert caplog.messages == [f"{tmp_path / 'some.npz'} has 2 of the 15,625 architectures."]


def test_the_epochs_must_come_from_the_name_or_the_option(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "table.csv", [f"0,{SKIP},10,20"])
    message = refusal(lambda: read_sources([path]))
    assert str(path) in message
    assert "--epochs" in message
    assert read_sources([path], epochs=90).columns == ("cifar10_test_90", "cifar100_test_90")


def test_sources_that_are_no_benchmark_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "x_12epochs.csv").write_bytes(b"arch,cifar10_test\n\xff\xfe,1\n")
    (tmp_path / "empty").mkdir()
    for name in ("notes.txt", "x_12epochs.csv", "empty", "absent.csv", "absent.pth", "absent.npz", "absent"):
        assert str(tmp_path / name) in refusal(lambda name=name: read_sources([tmp_path / name]))


# --- our own file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_truncated_table_is_refused(kept: float, table: NB201Table, tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    table.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    message = refusal(lambda: open_table(path))
    assert str(path) in message
    assert "convert" in message


def test_a_table_with_a_flipped_byte_is_refused(table: NB201Table, tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    table.save(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("accuracy.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + info.compress_size // 2 + 60] ^= 0xFF
    path.write_bytes(content)
    assert str(path) in refusal(lambda: NB201Table.load(path))


def test_damage_anywhere_is_refused_by_the_files_name_or_changes_nothing(tmp_path: Path) -> None:
    whole, path = OWN.read_bytes(), tmp_path / "table.npz"
    kinds = set()
    for place in (*range(0, len(whole), len(whole) // 50), *range(500, 1000, 20)):
        path.write_bytes(whole[:place] + bytes(byte ^ 0x5A for byte in whole[place : place + 20]) + whole[place + 20 :])
        try:
            accuracy = NB201Table.load(path).accuracy
        except UserError as error:
            kinds.add(type(error.__cause__) if str(path) in str(error) else str(error))
        else:
            assert np.array_equal(accuracy, NB201Table.load(OWN).accuracy, equal_nan=True)
    assert {zlib.error, zipfile.BadZipFile} <= kinds
    assert not any(isinstance(kind, str) for kind in kinds)


def test_what_is_no_archive_is_not_called_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    for content in (b"", b"arch,accuracy\n", b"\x89PNG\r\n\x1a\n", OWN.read_bytes()[:-30]):
        path.write_bytes(content)
        assert refusal(lambda: NB201Table.load(path)).startswith(
            f"the NAS-Bench-201 table {path} cannot be read (it is no whole .npz file); make it again with `"
        )


def test_another_npz_file_is_refused(tmp_path: Path) -> None:
    good: dict[str, Any] = {
        "schema": np.array("nas_lightning nb201 table 1"),
        "columns": np.array(["cifar10_test_200"]),
        "sources": np.array(["x.csv"]),
        "accuracy": np.full((15_625, 1), 50, np.float32),
    }
    path = tmp_path / "x.npz"
    np.savez(path, **good)
    assert NB201Table.load(path).query_string(SKIP) == {"cifar10_test_200": 50.0}
    changes: list[tuple[dict[str, Any], str]] = [
        ({"schema": np.array("nas_lightning nb201 table 2")}, "numbers of float32 where its schema has uint16"),
        (
            {"schema": np.array("nas_lightning nb201 table 3")},
            "has the schema 'nas_lightning nb201 table 3', which is none",
        ),
        ({"columns": np.array(["accuracy"])}, "has the column 'accuracy', which is no accuracy"),
        ({"columns": np.array([1.5])}, "has the column '1.5'"),
        ({"columns": np.array([], dtype=str)}, "has no columns"),
        ({"columns": np.array(["cifar10_test_200"] * 2)}, "has the column cifar10_test_200 twice"),
        ({"accuracy": good["accuracy"][:-1]}, "has accuracies [15624, 1] where [15625, 1]"),
        ({"accuracy": good["accuracy"].astype(np.float64)}, "numbers of float64 where its schema has float32"),
        ({"sources": np.array([object()])}, "cannot be read"),
        ({"sources": np.array([1, 2])}, "has sources that are no list of names"),
        ({"sources": np.array("x.csv")}, "has sources that are no list of names"),
        ({"accuracy": np.zeros(1, [(f"{n:020}", "f4") for n in range(1000)])}, "safe to load securely); make it again"),
    ]
    for change, fault in changes:
        np.savez(path, **{**good, **change})
        message = refusal(lambda: NB201Table.load(path))
        assert message.startswith(f"the NAS-Bench-201 table {path} ")
        assert fault in message
    np.savez(path, **{key: value for key, value in good.items() if key != "columns"})
    assert str(path) in refusal(lambda: NB201Table.load(path))
    with io.BytesIO() as buffer:
        np.save(buffer, good["accuracy"])
        path.write_bytes(buffer.getvalue())
    assert str(path) in refusal(lambda: NB201Table.load(path))


# --- the configuration and the program ---------------------------------------------------------------------------


def test_a_table_that_was_named_and_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data" / "nb201.npz"
    message = refusal(lambda: open_table(path))
    assert str(path) in message
    assert "python -m nas_lightning.tabular.nb201 convert" in message
    assert not path.parent.exists()


@pytest.mark.parametrize("path", ["", 5, ["x.npz"]])
def test_a_table_that_is_named_by_no_path_is_refused(path: Any) -> None:
    """An empty path is the current folder to pathlib."""
    assert f"benchmark.path={path!r} is no path" in refusal(lambda: open_table(path))


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert refusal(lambda: open_table(tmp_path)).startswith(f"the folder {tmp_path} cannot be read")


def test_the_program_says_which_architecture_an_index_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "12", "--table", str(OWN)]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.split() == ["architecture", str(read_nb201("12"))]
    assert second.split()[0] == "cifar10_valid_12"


def test_the_packages_table_knows_every_architecture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    own = open_table()
    assert own.sources[0] == "the package's own table"
    assert len(own) == 15_625
    assert not np.isnan(own.accuracy).any()
    best = dict(zip(own.columns, own.accuracy.max(0).tolist(), strict=True))
    assert [best[f"{name}_test_200"] for name in ("cifar10", "cifar100", "imagenet16_120")] == pytest.approx(
        [94.37, 73.51, 47.31], abs=1e-4
    )
    scores = own.query_string(SKIP)  # DARTS' rows in the literature
    assert [scores[f"{name}_test_200"] for name in ("cifar10", "cifar100", "imagenet16_120")] == [54.3, 15.61, 16.32]


def test_a_fuller_table_takes_precedence(table: NB201Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data" / "nb201.npz"
    table.save(path)
    assert open_table().sources == table.sources
    assert open_table().query_string(MIXED) == {"cifar10_test_200": 50.0, "cifar100_test_200": 20.25}
    path.write_bytes(path.read_bytes()[:-30])  # never named by the user, who is told how to do without it
    assert refusal(open_table).endswith(", or remove it for the package's own table.")
    path.unlink()
    path.symlink_to(tmp_path / "moved.npz")
    assert "there is no NAS-Bench-201 table at data/nb201.npz" in refusal(open_table)


def test_hundredths_are_the_numbers_rounded(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (15_625, 2)).astype(np.float32)
    values[7, 1] = np.nan
    table = NB201Table(values, ("cifar10_test_200", "cifar100_test_200"), ("x.csv",))
    table.save(tmp_path / "x.npz", hundredths=True)
    read = NB201Table.load(tmp_path / "x.npz").accuracy
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, np.round(values.astype(np.float64), 2).astype(np.float32))


def test_the_configuration_opens_the_table_named_by_the_environment(
    table: NB201Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.save(tmp_path / "mine.npz")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NAS_LIGHTNING_NB201", "~/mine.npz")
    opened = instantiate(OmegaConf.load(ROOT / "conf" / "benchmark" / "nb201.yaml"))
    assert opened.query_string(MIXED) == {"cifar10_test_200": 50.0, "cifar100_test_200": 20.25}
    assert instantiate(OmegaConf.load(ROOT / "conf" / "benchmark" / "none.yaml")) is None


def test_the_program_converts_and_answers(pth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "table.npz"
    assert main(["convert", str(pth), str(target), "--trust"]) == 0
    assert "3 of 15625 architectures" in capsys.readouterr().out
    assert main(["query", SKIP, "--table", str(target)]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert {key: float(value) for key, value in printed.items()} == pytest.approx(expected_scores(1), abs=6e-4)


def test_the_program_starts_as_a_module_without_a_warning_and_fails_in_one_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "nas_lightning.tabular.nb201",
        "query",
        SKIP,
        "--table",
        str(tmp_path / "absent.npz"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "absent.npz") in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["convert", "{csv}", "{tmp}/table.csv"], "{tmp}/table.csv does not end in .npz"),
        (["convert", "{csv}", "{tmp}/folder.npz"], "{tmp}/folder.npz is a folder"),
        (["convert", "{csv}", "{csv}/table.npz"], "cannot write {csv}/table.npz"),
        (["convert", "{csv}", "/proc/self/table.npz"], "cannot write /proc/self/table.npz"),
        (["convert", "{tmp}/absent.csv", "{tmp}/table.npz"], "{tmp}/absent.csv"),
        (["query", SKIP, "--table", "{tmp}/absent.npz"], "{tmp}/absent.npz"),
        (["query", "|none~0|", "--table", "{csv}"], "|none~0|"),
        (["query", CONV, "--table", "{csv}"], CONV),
    ],
)
def test_the_program_refuses_in_one_line_and_writes_nothing(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_csv(tmp_path / "x_12epochs.csv", [f"0,{SKIP},10,20"])
    (tmp_path / "folder.npz").mkdir()
    before = sorted(tmp_path.rglob("*"))
    fill = {"csv": source, "tmp": tmp_path}
    assert main([argument.format_map(fill) for argument in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert named.format_map(fill) in printed.err
    assert printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_conversion_leaves_the_old_table_whole(table: NB201Table, tmp_path: Path) -> None:
    target = tmp_path / "table.npz"
    table.save(target)
    old = target.read_bytes()
    broken = write_csv(tmp_path / "x_12epochs.csv", [f"0,{SKIP},1,none"])
    assert main(["convert", str(broken), str(target)]) == 1
    assert target.read_bytes() == old


@pytest.mark.parametrize("epochs", ["0", "-3", "many", "1.5"])
def test_epochs_that_are_no_positive_number_are_refused(epochs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "a.csv", "b.npz", f"--epochs={epochs}"])
    assert repr(epochs) in capsys.readouterr().err


# --- the real numbers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> NB201Table:
    return read_sources([SHARED])


@needs_csvs
def test_the_real_table_has_the_published_best_and_all_skip_accuracies(real: NB201Table) -> None:
    keys = ("cifar10_test_200", "cifar100_test_200", "imagenet16_120_test_200")
    best = [float(real.accuracy[:, real.columns.index(key)].max()) for key in keys]
    assert best == pytest.approx([94.373, 73.513, 47.311], abs=6e-4)
    scores = real.query_string(SKIP)
    assert [scores[key] for key in keys] == pytest.approx([54.297, 15.607, 16.322], abs=6e-4)


@needs_csvs
def test_the_real_table_answers_every_string_with_its_line_of_the_csv_files(real: NB201Table, tmp_path: Path) -> None:
    real.save(tmp_path / "table.npz")
    loaded = NB201Table.load(tmp_path / "table.npz")
    expected: dict[str, dict[str, float]] = {}
    for name, epochs in (("nb201_200epochs_test.csv", 200), ("nb201_12epochs.csv", 12)):
        with (SHARED / name).open(newline="") as file:
            for line in csv.DictReader(file):
                scores = {f"{key}_{epochs}": float(text) for key, text in line.items() if key not in ("index", "arch")}
                expected.setdefault(line["arch"], {}).update(scores)
    assert len(expected) == 15_625
    for operations in itertools.product(NB201_OPERATIONS, repeat=6):
        text = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*operations)
        assert loaded.query_string(text) == expected[text]


@needs_csvs
def test_the_packages_table_is_the_files_numbers_rounded(real: NB201Table) -> None:
    own = NB201Table.load(OWN)
    assert own.columns == real.columns
    np.testing.assert_allclose(own.accuracy, real.accuracy, rtol=0, atol=0.00501)
