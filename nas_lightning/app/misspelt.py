"""What Hydra says on several lines of an override that it cannot use, in one sentence and with what was probably meant."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.schema import nearest, parameters
from nas_lightning.app.trainer_settings import of_lightning
from nas_lightning.records.overrides import key_of

_FULL = "HYDRA_FULL_ERROR"
_asked_by_user = _FULL in os.environ


def hand_over_errors() -> None:
    """Have Hydra raise what it refuses in a composition, instead of printing it; until `leave_errors_to_hydra`."""
    os.environ.setdefault(_FULL, "1")


def leave_errors_to_hydra() -> None:
    """Of jobs Hydra prints the errors itself."""
    if not _asked_by_user:
        os.environ.pop(_FULL, None)


def in_one_sentence(error: HydraException, program: str, overrides: Sequence[str], own: str | None) -> str:
    """own: the folder of the user's own configs. Raised again where the user has asked Hydra for the whole story."""
    if _asked_by_user:
        raise error
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        near = difflib.get_close_matches(option, error.options, 1)
        meant = f"did you mean {near[0]}? There is" if near else "there is"
        return f"{group}={option}: no such choice; {meant} {', '.join(sorted(error.options))}."
    reason = " ".join(str(error).split("See https://hydra.cc")[0].split())
    misspelt = re.match(r"Could not override '([^']+)'", reason)
    if misspelt is None:
        return f"{reason.rstrip('.')}; correct that on the command line, --help shows every choice."
    if said := of_lightning(misspelt[1]):
        return said
    config, groups = _known(program, overrides, misspelt[1], own)
    key = misspelt[1]
    if (maker := _left_at_default(config, key)) is not None:
        return f"{key} is a setting of {maker} that its yaml leaves at the default; give it by a +, as in +{key}=..."
    return f"there is no {key}; {nearest(key, config, groups)}"


def _left_at_default(config: Mapping[str, object], key: str) -> str | None:
    """The class that has the setting `key`, though the config does not name it."""
    above, _, name = key.rpartition(".")
    target = OmegaConf.select(OmegaConf.create(dict(config)), f"{above}._target_") if above else None
    if not isinstance(target, str) or not target.startswith("nas_lightning."):
        return None
    return target.rpartition(".")[2] if any(known == name for known, *_ in parameters(target)) else None


def _known(
    program: str, overrides: Sequence[str], without: str, own: str | None
) -> tuple[dict[str, object], list[str]]:
    """(the config without this override, as it is written; the groups)."""
    folders = [CONFIGS] if own is None else [CONFIGS, Path(own)]
    groups = [path.name for folder in folders for path in folder.iterdir() if path.is_dir()]
    others = [each for each in overrides if key_of(each) != without]
    searched = [] if own is None else [f"hydra.searchpath=['file://{Path(own).absolute()}']"]
    GlobalHydra.instance().clear()
    for tried in (others, []):
        with suppress(HydraException, OmegaConfBaseException), initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose(program, [*tried, *searched])
            assert isinstance(config, DictConfig)
            return OmegaConf.to_container(config, resolve=False), groups  # type: ignore[return-value]
    return {}, groups
