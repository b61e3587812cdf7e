"""evaluate.py in the DARTS space: counting, training, resuming, exporting, ImageNet folders, tables over seeds."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from omegaconf import OmegaConf
from PIL import Image

import nas_lightning
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.build import build
from nas_lightning.errors import UserError
from nas_lightning.records.overrides import quote_values
from nas_lightning.reports.__main__ import main as reports
from nas_lightning.reports.model_card import model_card
from nas_lightning.spaces import DARTS
from nas_lightning.training.export import export_network
from nas_lightning.training.module import NetworkModule
from nas_lightning.training.rates import linear_decay
from tests.conftest import ROOT, composed
from tests.test_search import interrupt, rows, weights

TINY = (
    "space.C=4", "space.num_cells=3", "trainer.max_epochs=2", "trainer.accelerator=cpu", "data.batch_size=16",
    "dataset.image_size=32", "dataset.train_images=48", "dataset.test_images=32",
)  # fmt: skip
RECIPES = sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))


def evaluated(tmp_path, *overrides, folder="evaluation", dataset="fake", in_sweep=False):
    config = composed(
        "space=darts", f"dataset={dataset}", *overrides, f"run_dir={tmp_path / folder}", config="evaluate"
    )
    choices = {"space": "darts", "dataset": dataset, "recipe": "darts"}
    return evaluate(config, Job(choices, list(overrides), in_sweep))


def trained(tmp_path, *overrides, **where):
    return evaluated(tmp_path, *TINY, "train=true", *overrides, **where)


def test_counting_a_network_reads_no_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = evaluated(tmp_path, "genotype=DARTS_V2", "train=false", "dataset.download=false", dataset="cifar10")
    assert (report["params"], report["macs"]) == (3_349_342, 528_359_040)
    assert json.loads((tmp_path / "evaluation" / "report.json").read_text())["params"] == 3_349_342
    assert {path.name for path in tmp_path.rglob("*")} == {"evaluation", "report.json", "config.yaml"}


def test_a_genotype_may_be_a_name_a_text_or_a_file(tmp_path):
    small = ("space.C=4", "space.num_cells=3")
    by_name = evaluated(tmp_path, *small, "genotype=PC_DARTS_cifar")
    (text,) = quote_values([f"genotype={by_name['architecture']}"])
    file = tmp_path / "found.json"
    file.write_text(json.dumps(by_name["genotype"]))
    plain = tmp_path / "found.txt"
    plain.write_text(f"{by_name['architecture']}\n")
    for genotype in (text, f"genotype={file}", f"genotype={plain}"):
        other = evaluated(tmp_path, *small, genotype)
        assert other["genotype"] == by_name["genotype"]
        assert other["params"] == by_name["params"]


@pytest.mark.parametrize(
    "form", ["printed", "JSON", "a log", "a Python file", "metrics.csv", "architecture.csv", "report.json"]
)
def test_what_is_printed_and_written_for_an_architecture_is_read(form, tmp_path, caplog):
    """NASNet, whose nodes and operations the space itself does not have."""
    nasnet = DARTS().parse("NASNet")
    texts = {
        "printed": str(nasnet),
        "JSON": nasnet.to_json(),
        "a log": f"04/02 genotype = {DARTS().parse('DARTS_V1')}\n04/02 genotype = {nasnet}\n04/02 end\n",
        "a Python file": f"DARTS_V1 = {DARTS().parse('DARTS_V1')}\nNASNet = {nasnet}\n# {DARTS().parse('DARTS_V2')}\n",
        "metrics.csv": f'epoch,architecture\n0,x\n1,"{nasnet}"\n',
        "architecture.csv": 'epoch,architecture\n0,"{}"\n'.format(nasnet.to_json().replace('"', '""')),
        "report.json": json.dumps({"genotype": json.loads(nasnet.to_json()), "architecture": str(nasnet)}),
    }
    given = texts[form]
    if form not in ("printed", "JSON"):
        suffix = {"a log": "x.log", "a Python file": "x.py"}.get(form, form)
        (tmp_path / suffix).write_text(given)
        given = str(tmp_path / suffix)
    with caplog.at_level("INFO", "nas_lightning"):
        report = evaluated(tmp_path, *quote_values([f"genotype={given}"]), "space.C=4", "space.num_cells=3")
    assert report["genotype"] == json.loads(nasnet.to_json())
    where = {"a log": "line 2 of ", "a Python file": "line 2 of ", "metrics.csv": "the last epoch in "}
    assert where.get(form, "") in caplog.text
    assert ("the last of 2 architectures" in caplog.text) == (form in ("a log", "a Python file"))


def test_a_file_that_holds_no_architecture_is_one_sentence(tmp_path):
    contents = {
        "empty.log": (b" \n", "it is empty"),
        "network.onnx": (b"\x08\x07\x00\x12", "a binary file, such as weights or an ONNX network"),
        "notes.txt": (b"nothing\nhere", "holds no genotype.json and no architecture's text"),
        "cut.csv": (b"epoch,architecture\n0", "its last line is not whole"),
        "large.log": (b" " * (2**25 + 1), "larger than 33,554,432 bytes"),
    }
    for name, (content, sentence) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=sentence) as raised:
            evaluated(tmp_path, f"genotype={tmp_path / name}")
        assert str(raised.value).startswith(str(tmp_path / name))
        assert "\n" not in str(raised.value)
    for given, sentence in (
        (tmp_path, "is a folder; give a file in it, or run="),
        (tmp_path / "no.log", "no such file"),
    ):
        with pytest.raises(UserError, match=sentence):
            evaluated(tmp_path, f"genotype={given}")


def test_the_recipe_normalises_the_searchs_images(tmp_path):
    searched = composed("space=nb201", "dataset=cifar10", "run_dir=x")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(searched, resolve=True))
    (tmp_path / "genotype.json").write_text(DARTS().parse("DARTS_V2").to_json())
    for override, family in (
        ("seed=0", "darts"),
        ("normalisation=nb201", "nb201"),
        ("+dataset.normalisation=nb201", "nb201"),
    ):
        report = evaluated(tmp_path, f"run={tmp_path}", override, "space.C=4", "space.num_cells=3", dataset="digits")
        assert report["dataset"] == "cifar10"
        assert report["config"]["data"]["dataset"]["normalisation"] == family


def test_what_found_a_network_is_known_after_a_training_during_which_its_folder_was_lost(tmp_path, monkeypatch):
    search = tmp_path / "search"
    search.mkdir()
    (search / "genotype.json").write_text(DARTS().parse("DARTS_V2").to_json())
    (search / "report.json").write_text(
        json.dumps({"kind": "search", "method": "edd", "seed": 3, "overrides": ["seed=3"]})
    )
    train_all = nas_lightning.app.evaluate.train_all

    def losing(*arguments):
        shutil.rmtree(search)
        return train_all(*arguments)

    monkeypatch.setattr(nas_lightning.app.evaluate, "train_all", losing)
    report = trained(tmp_path, f"run={search}", "dataset=fake")
    assert (report["method"], report["search"]) == ("edd", {"seed": 3, "overrides": ["seed=3"], "commit": None})


def test_a_sweep_over_texts_is_split_between_them_and_not_inside():
    text = str(DARTS().parse("DARTS_V1"))
    (swept,) = OverridesParser.create().parse_overrides(quote_values([f"genotype={text},DARTS_V2"]))
    assert [each.text if isinstance(each, QuotedString) else each for each in swept.value().list] == [text, "DARTS_V2"]
    assert composed(quote_values([f"genotype={text}"])[0], config="evaluate").genotype == text


def test_a_pattern_stands_for_the_finished_searches_it_matches(tmp_path):
    for name, files in {
        "method=edd,seed=1": ("genotype.json", "report.json", "metrics.csv"),
        "method=edd,seed=0": ("genotype.json", "report.json", "metrics.csv"),
        "method=edd,seed=2": ("config.yaml", "metrics.csv"),  # unfinished
        "run=x,method=edd": ("genotype.json", "report.json"),  # an evaluation beside them
    }.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    (swept,) = OverridesParser.create().parse_overrides(quote_values([f"run={tmp_path}/*method=edd*"]))
    assert [each.text for each in swept.value().list] == [f"{tmp_path}/method=edd,seed={seed}" for seed in (0, 1)]


def test_interrupted_training_equals_uninterrupted(tmp_path, monkeypatch):
    """Drop path, cutout and the auxiliary head included."""
    settings = ("genotype=DARTS_V2", "trainer.max_epochs=3", "recipe.drop_path=0.5")
    whole = trained(tmp_path, *settings, folder="whole")
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        trained(tmp_path, *settings, folder="stopped")
    resumed = trained(tmp_path, *settings, folder="stopped")
    assert resumed["test_accuracy"] == whole["test_accuracy"]
    assert rows(tmp_path / "stopped" / "found") == rows(tmp_path / "whole" / "found")
    ours, theirs = weights(tmp_path / "stopped" / "found"), weights(tmp_path / "whole" / "found")
    assert any(name.startswith("network.auxiliary.") for name in theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_interrupted_training_does_not_go_on_with_another_genotype(tmp_path, monkeypatch):
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        trained(tmp_path, "genotype=DARTS_V2")
    with pytest.raises(UserError, match="interrupted run with genotype=DARTS_V2, now it is DARTS_V1"):
        trained(tmp_path, "genotype=DARTS_V1")


def test_interrupted_training_does_not_go_on_when_its_genotype_file_has_changed(tmp_path, monkeypatch):
    file = tmp_path / "found.json"
    file.write_text(DARTS().parse("DARTS_V2").to_json())
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        trained(tmp_path, f"genotype={file}")
    file.write_text(DARTS().parse("DARTS_V1").to_json())
    with pytest.raises(UserError, match="interrupted training of another genotype"):
        trained(tmp_path, f"genotype={file}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished training."""
    place = tmp_path_factory.mktemp("finished")
    trained(place, "genotype=PC_DARTS_cifar")
    return place / "evaluation"


def images(count):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_loaded_network_is_the_trained_one(finished):
    network = nas_lightning.load(finished)
    assert not network.training
    report = json.loads((finished / "report.json").read_text())
    assert sum(parameter.numel() for parameter in network.parameters()) == report["params"]
    state = {k.removeprefix("network."): v for k, v in weights(finished / "found").items()}
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    data = build(composed("dataset=fake", *(o for o in TINY if o.startswith("dataset.")), config="evaluate").data)
    hits = [network(x).argmax(1) == y for x, y in data.val_dataloader()]
    assert torch.cat(hits).float().mean().item() == pytest.approx(report["test_accuracy"])


def test_exported_networks_compute_the_same_for_any_batch_and_nothing_is_trained_again(finished):
    before = (finished / "report.json").read_bytes()
    assert trained(finished.parent, "genotype=PC_DARTS_cifar", "export=torch") is None
    assert (finished / "report.json").read_bytes() == before
    exported = torch.export.load(finished / "model.pt2").module()
    session = onnxruntime.InferenceSession(export_network(finished, "onnx"), providers=["CPUExecutionProvider"])
    network = nas_lightning.load(finished)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata == network.interface.texts()
    assert json.loads(metadata["classes"]) == [str(number) for number in range(10)]
    for count in (1, 2, 5):
        expected = network(images(count)).detach()
        (logits,) = session.run(None, {"images": images(count).numpy()})
        assert np.allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-5)
        assert torch.allclose(exported(images(count)), expected, rtol=1e-4, atol=1e-5)


def test_model_card_says_data_recipe_numbers_and_commit(finished):
    card = (finished / "MODEL_CARD.md").read_text()
    report = json.loads((finished / "report.json").read_text())
    numbers = (f"{report['params']:,}", f"{100 * report['test_accuracy']:.2f} %")
    for said in ("fake", "darts, 2 epochs, batch 16, seed 0", *numbers):
        assert said in card
    assert (report["commit"] or "unknown") in card
    assert "noise" not in card
    assert "found by architecture search or given by hand, and trained" in card
    found = {**report, "method": "edd + penalty=beta_decay", "search": {"seed": 3, "overrides": []}}
    assert "found by edd + penalty=beta_decay (seed 3), and trained" in model_card(found, str(finished))
    noisy = {**report, "architecture": report["architecture"].replace("skip_connect", "noise")}
    assert "the same image gets other logits each time" in model_card(noisy, str(finished))


def test_what_cannot_be_loaded_is_one_sentence(finished, tmp_path):
    with pytest.raises(UserError, match="holds no evaluation"):
        nas_lightning.load(tmp_path)
    evaluated(tmp_path, "genotype=DARTS_V1", "space.C=4", "space.num_cells=3")
    with pytest.raises(UserError, match="holds no trained network"):
        nas_lightning.load(tmp_path / "evaluation")
    (tmp_path / "evaluation" / "found").mkdir()
    (tmp_path / "evaluation" / "found" / "weights.pt").write_bytes(b"half")
    with pytest.raises(UserError, match=r"weights.pt does not hold the weights"):
        nas_lightning.load(tmp_path / "evaluation")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("genotype=DARTS_V2", "export=onnx"), "export=onnx needs a trained network"),
        (
            ("genotype=DARTS_V2", "export=onnx", "export.format=tflite", "train=true"),
            "export must be onnx, torch or null",
        ),
        (
            ("genotype=DARTS_V2", "export=onnx", "export.preprocess=1", "train=true"),
            "export.preprocess must be true or false",
        ),
        (("genotype=DARTS_V3",), "neither the name of a published architecture"),
        (("genotype=5",), "neither the name of a published architecture"),
        (("genotype=/dev/null/found.json",), "found.json cannot be read"),
        ((f"genotype={ROOT / 'pyproject.toml'}",), r"pyproject.toml holds no genotype.json and no archi"),
        (("genotype=DARTS_V2", "space.partial=5"), "divisible by space.partial=5"),
        (("genotype=DARTS_V2", "train=true", "dataset.image_size=16"), "images of 16 pixels do not pass"),
        (("genotype=DARTS_V2", "train=true", *TINY, "recipe.drop_path=1"), "recipe.drop_path must be"),
        (("genotype=DARTS_V2", "train=true", *TINY, "recipe.label_smoothing=-1"), "recipe.label_smoothing must be"),
        (("genotype=DARTS_V2", "baselines=maybe"), "baselines must be true or false"),
        (("genotype=DARTS_V2", "mac_limit=few"), "mac_limit must be a number"),
        ((f"run={ROOT / 'pyproject.toml'}",), "pyproject.toml is a file, .*; give it as genotype="),
        (("run=5",), "run=5 is no folder of a search"),
        (("genotype=DARTS_V2", "train=true", *TINY, "recipe.scheduler.T_max=0"), "refuses its settings"),
        (
            ("genotype=DARTS_V2", "train=true", *TINY, "trainer.gradient_clip_val=-5"),
            "trainer.gradient_clip_val must be",
        ),
        (("genotype=DARTS_V2", "data.cutout=big"), "data.cutout must be a whole number"),
    ],
)
def test_nonsense_is_one_sentence_and_writes_nothing(overrides, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence) as raised:
        evaluated(tmp_path, *overrides)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "evaluation").exists()


def test_several_genotypes_and_seeds_give_mean_and_deviation(tmp_path, capsys):
    for genotype, accuracies in (("DARTS_V1", (0.90, 0.94)), ("DARTS_V2", (0.95, 0.97))):
        for seed, accuracy in enumerate(accuracies):
            place = f"{genotype}-{seed}"
            overrides = ("space.C=4", "space.num_cells=3", f"genotype={genotype}", f"seed={seed}")
            report = evaluated(tmp_path, *overrides, folder=place)
            (tmp_path / place / "report.json").write_text(json.dumps(report | {"test_accuracy": accuracy}))
    capsys.readouterr()
    assert reports(["summary", str(tmp_path), "--format", "markdown"]) == 0
    heading, _, *lines = filter(None, capsys.readouterr().out.splitlines())
    assert heading.startswith("| genotype | n | test (%) | parameters (M) | multiply-adds (M) |")
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| DARTS_V1", "2", "92.00 ± 2.83"],
        ["| DARTS_V2", "2", "96.00 ± 1.41"],
    ]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_with_what_the_network_module_takes(recipe):
    space = "nb201" if recipe == "nb201" else "darts"
    config = composed(f"space={space}", f"recipe={recipe}", "run_dir=x", config="evaluate")
    module = NetworkModule(
        torch.nn.Linear(1, 1),
        build(config.recipe.optimizer),
        build(config.recipe.scheduler),
        label_smoothing=config.recipe.label_smoothing,
        auxiliary_weight=config.recipe.auxiliary_weight,
        drop_path=config.recipe.drop_path,
    )
    assert module.configure_optimizers()
    build(config.data)


def test_recipes_are_the_published_ones():
    def values(recipe):
        c = composed("space=darts", f"recipe={recipe}", "run_dir=x", config="evaluate")
        network = c.space.C, c.space.num_cells, c.space.stem, c.space.pool_norm
        return (*network, c.trainer.max_epochs, c.data.batch_size, c.recipe.optimizer.lr, c.recipe.drop_path)

    assert values("darts") == (36, 20, "cifar", False, 600, 96, 0.025, 0.2)
    assert values("drnas") == (36, 20, "cifar", True, 600, 64, 0.025, 0.3)
    assert values("subspaces") == (16, 8, "cifar", False, 600, 96, 0.025, 0.2)
    assert values("imagenet_darts") == (48, 14, "imagenet", False, 250, 128, 0.1, 0)
    assert values("imagenet_drnas") == (48, 14, "imagenet", True, 250, 768, 0.5, 0)
    assert values("imagenet_pc_darts") == (48, 14, "imagenet", False, 250, 1024, 0.5, 0)


def test_linear_decay_is_drnas_schedule():
    """0.5 * (e + 1) / 5, then 0.5 * (245 - e) / 245, in the last five epochs 0.5 * (250 - e) / (5 * 245)."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = linear_decay(optimizer, epochs=250)
    rates = []
    for _ in range(250):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    expected = {0: 0.1, 4: 0.5, 5: 0.5 * 240 / 245, 244: 0.5 / 245, 245: 0.5 / 245, 249: 0.1 / 245}
    assert {epoch: rates[epoch] for epoch in expected} == pytest.approx(expected)
    with pytest.raises(UserError, match=r"trainer.max_epochs > tail"):
        linear_decay(optimizer, epochs=5)


def test_losses_are_smoothed_and_the_auxiliary_one_is_weighted():
    logits, auxiliary, y = torch.randn(6, 4), torch.randn(6, 4), torch.randint(4, (6,))

    def smoothed(z):
        log_p = torch.log_softmax(z, 1)
        return -(0.9 * log_p[torch.arange(6), y] + 0.1 * log_p.mean(1)).mean()

    class Fixed(torch.nn.Module):
        def forward(self, x):
            return logits, auxiliary

    module = NetworkModule(Fixed(), torch.optim.SGD, label_smoothing=0.1, auxiliary_weight=0.4)
    module.trainer = type("Trainer", (), {"is_last_batch": False})()
    assert module.training_step((logits, y), 0).item() == pytest.approx(
        (smoothed(logits) + 0.4 * smoothed(auxiliary)).item()
    )


def test_drop_path_grows_linearly_over_the_epochs():
    space = DARTS(C=4, num_cells=3)
    module = NetworkModule(space.network(space.parse("DARTS_V2"), 5), torch.optim.SGD, drop_path=0.3)
    for epoch, probability in ((0, 0.0), (3, 0.15), (5, 0.25)):
        module.trainer = type("Trainer", (), {"max_epochs": 6, "current_epoch": epoch})()
        module.on_train_epoch_start()
        (p,) = {edge.drop.p for cell in module.network.cells for edge in cell.edges if edge.drop}
        assert p == pytest.approx(probability)


@pytest.fixture
def image_folder(tmp_path):
    generator = np.random.default_rng(0)
    for part, count in (("train", 9), ("val", 4)):
        for number, name in enumerate(("ant", "bee")):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 120, (50, 40 + index, 3)) + 100 * number
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / part / name / f"{index}.jpg")
    return tmp_path / "images"


IMAGENET = (
    "recipe=imagenet_darts", "genotype=DARTS_V2", "train=true", "space.C=4", "space.num_cells=3", "trainer.max_epochs=3",
    "trainer.accelerator=cpu", "data.batch_size=8", "data.num_workers=1", "dataset.image_size=32", "dataset.resize=40",
    "dataset.num_classes=2", "space.auxiliary_head=false",
)  # fmt: skip


def test_imagenet_training_resumes_to_the_bit(image_folder, tmp_path, monkeypatch):
    root = f"dataset.root={image_folder}"
    whole = evaluated(tmp_path, *IMAGENET, root, folder="whole", dataset="imagenet")
    assert whole["split"] == {"mode": "train/val", "train_images": 18, "test_images": 8}
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        evaluated(tmp_path, *IMAGENET, root, folder="stopped", dataset="imagenet")
    evaluated(tmp_path, *IMAGENET, root, folder="stopped", dataset="imagenet")
    assert rows(tmp_path / "stopped" / "found") == rows(tmp_path / "whole" / "found")
    assert nas_lightning.load(tmp_path / "whole")(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_imagenets_test_images_are_resized_centre_cropped_and_normalised(image_folder):
    config = composed("space=darts", *IMAGENET, f"dataset.root={image_folder}", "data.num_workers=0", config="evaluate")
    (x, y), *_ = build(config.data).val_dataloader()
    with Image.open(image_folder / "val" / "ant" / "0.jpg") as image:
        resized = image.resize((40, 50), Image.Resampling.BILINEAR)  # 40 wide already
        pixels = np.asarray(resized.crop((4, 9, 36, 41))) / 255
    expected = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert torch.allclose(x[0], torch.tensor(expected).permute(2, 0, 1).float(), atol=1e-5)
    assert y.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: (root / "val" / "bee").rename(root / "val" / "wasp"), r"val lacks 1 of the classes \(bee\)"),
        (lambda root: (root / "val").rename(root / "test"), "has no folder val/"),
        (lambda root: (root / "train" / "cat").mkdir(), "the class folder .*train/cat holds no images"),
        (
            lambda root: (root / "train" / "ant" / "3.jpg").write_bytes(b"no image"),
            r"ant/3.jpg in .* cannot be decoded",
        ),
    ],
)
def test_a_damaged_imagenet_folder_is_one_sentence(damage, sentence, image_folder, tmp_path):
    damage(image_folder)
    with pytest.raises(UserError, match=sentence) as raised:
        evaluated(tmp_path, *IMAGENET, f"dataset.root={image_folder}", dataset="imagenet")
    assert "\n" not in str(raised.value)


def test_a_folder_with_another_number_of_classes_is_one_sentence(image_folder, tmp_path):
    with pytest.raises(UserError, match=r"has 2 class folders, but dataset.num_classes=1000"):
        evaluated(tmp_path, *IMAGENET, "dataset.num_classes=1000", f"dataset.root={image_folder}", dataset="imagenet")


def test_multiply_adds_beyond_the_mobile_setting_are_a_warning(tmp_path, capsys):
    small = ("recipe=imagenet_drnas", "genotype=DARTS_V2", "space.C=4", "space.num_cells=3")
    macs = evaluated(tmp_path, *small, dataset="imagenet")["macs"]
    assert f"{macs:,} multiply-adds: within the limit of 600,000,000" in capsys.readouterr().out
    evaluated(tmp_path, *small, f"mac_limit={macs - 1}", dataset="imagenet")
    assert f"WARNING: beyond the limit of {macs - 1:,}" in capsys.readouterr().out
