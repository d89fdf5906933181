"""The page of verdicts that `architectures.py --page` writes: a table a family, with the rows of earlier runs kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

Row = tuple[str, str, str, str]
"""``text:bert``, verdict, what was said, and the version of the library that was judged."""
LIBRARIES = {
    "text": "transformers", "timm": "timm", "braindecode": "braindecode", "torchvision": "torchvision",
    **dict.fromkeys(("vision", "audio", "vision_language", "video"), "transformers"),
}  # fmt: skip
"""Family -> library whose networks it reads."""
HEAD = """\
# Architectures, one by one

Written by `python benchmarks/architectures.py --page docs/architectures.md`; not by hand. Every architecture is built
small, from its configuration, with random weights. `read`: the layers are the library's own hidden states or feature
maps of a stimulus alone, to 1e-5 of the largest value. `refused`: by name, with the reason below. `not built`: the
configuration alone gives no small network that runs on plain input. How networks are read: [Encoders](encoders.md).
"""


def read(page: Path) -> list[Row]:
    """Return the rows of a page; none where there is no page yet."""
    if not page.exists():
        return []
    rows = re.findall(r"^\| `(\S+)` \| ([^|]+) \| (.*) \| (\S+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [(name, verdict, re.sub(r"\\(.)", r"\1", said), judged) for name, verdict, said, judged in rows]


def write(page: Path, verdicts: Iterable[tuple[str, str, str]]) -> None:
    """Write the verdicts of this run over those of earlier ones."""
    rows = {row[0]: row for row in read(page)}
    for name, verdict, said in verdicts:
        line = " ".join(re.sub(r"/\S*tmp\S*", "FOLDER", said).split())[:240].rstrip(" ;")
        rows[name] = (name, verdict, line, version(LIBRARIES[name.partition(":")[0]]))
    text = HEAD
    for family in LIBRARIES:
        mine = sorted(row for row in rows.values() if row[0].partition(":")[0] == family)
        if not mine:
            continue
        counts = Counter(row[1] for row in mine)
        text += f"\n## {family}\n\n{', '.join(f'{n} {verdict}' for verdict, n in counts.most_common())}.\n\n"
        text += f"| name | verdict | remark | {LIBRARIES[family]} |\n|---|---|---|---|\n"
        for name, verdict, said, judged in mine:
            escaped = re.sub(r"([|<>*_`\[\]])", r"\\\1", said)
            text += f"| `{name}` | {verdict} | {escaped} | {judged} |\n"
    page.write_text(text, encoding="utf-8")
