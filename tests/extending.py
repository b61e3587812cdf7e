"""The sections of docs/extending.md and the files that their blocks are."""

import re
from typing import NamedTuple

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text()


class Section(NamedTuple):
    """group: its heading, a config group. files: path -> text, from the first line of a block that is a comment with a path."""

    group: str
    files: dict[str, str]

    @property
    def choice(self):
        """What chooses the section's yaml: own/penalty/cost.yaml -> penalty=cost."""
        (path,) = (path for path in self.files if path.startswith(f"own/{self.group}/"))
        return f"{self.group}={path.removeprefix(f'own/{self.group}/').removesuffix('.yaml')}"


def blocks(text):
    return re.findall(r"^```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def path_of(block):
    return re.search(r"^# (\S+\.(?:py|yaml))$", block, re.MULTILINE)[1]


def sections():
    parts = re.split(r"^## `(\w+)`$", PAGE, flags=re.MULTILINE)[1:]
    return [
        Section(group, {path_of(block): block for block in blocks(text)})
        for group, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def walk():
    """The command of the page's first section, in words."""
    (command,) = blocks(PAGE.partition("## `")[0])
    return command.split()


def write(folder):
    """All files of the page into `folder`."""
    for section in sections():
        for path, text in section.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)


def built(group, name):
    """What a section's module defines by `name`."""
    (source,) = (
        text
        for section in sections()
        if section.group == group
        for path, text in section.files.items()
        if path.endswith(".py")
    )
    namespace = {}
    exec(compile(source, f"docs/extending.md: {group}", "exec"), namespace)
    return namespace[name]
