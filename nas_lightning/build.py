"""From a part of the config to the object that it names."""

import re
from typing import Any

import hydra
from hydra.errors import InstantiationException

from nas_lightning.errors import UserError


def build(node: Any, **arguments: Any) -> Any:
    """hydra.utils.instantiate with plain containers; what the constructor refuses is raised as it was."""
    try:
        return hydra.utils.instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        # A library's own refusal: its last words and the place in the config.
        reason = str(error.__cause__ or error).strip().splitlines()[0].rstrip(":")
        unknown = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", reason)
        if unknown:
            reason = "{} has no setting {}".format(*unknown.groups())
        raise UserError(
            f"{node.get('_target_')} refuses its settings ({reason}); correct them on the command line."
        ) from error
