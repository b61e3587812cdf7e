"""Forms of other programs' architectures that are not read, known by what only they have, so that a refusal can name them."""

import re

_FORMS = {
    "nb201": (r"\|\s*\w+~\d", "it is an architecture of NAS-Bench-201: set space=nb201"),
    "darts": (
        r"\bGenotype\s*\(|[\"'](normal|reduce)[\"']\s*:",
        "it is an architecture of the DARTS space: set space=darts",
    ),
    "nni": (r"[\"'](normal|reduce)(/op_|/input|_n\d)", "it is an export of NNI, whose choices are not read"),
    "nb301": (r"NetworkSelectorDatasetInfo", "it is a configuration of NAS-Bench-301, which is not read"),
    "nb101": (r"module_adjacency|conv3x3-bn-relu", "it is a cell of NAS-Bench-101, a space that is not here"),
    "channels": (r"\A\s*\d+(:\d+)+\s*\Z", "it lists channels, as NATS-Bench's size space, which is not here"),
    "numbers": (
        r"\A[\s\d,()\[\]]*\d[\s,()\[\]]+\d[\s\d,()\[\]]*\Z",
        "it is a sequence of numbers, as of ENAS, NAO or NASLib, which does not say what they stand for",
    ),
}
_LOOKED_AT = 2**16  # characters


def foreign_form(text: str, own: str) -> str:
    """What `text` is where it is of another form than the one called `own`; empty where no form is known."""
    start = text[:_LOOKED_AT]
    known = (remark for name, (pattern, remark) in _FORMS.items() if name != own and re.search(pattern, start))
    return next(known, "")
