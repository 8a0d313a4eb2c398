"""What the README shows runs as it stands and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LARGEST_PICTURE = 150_000  # bytes; a clone carries every version of it

COEFFICIENT = 0.002  # printed to three digits; the table's fit does not depend on the machine
R2 = 0.03  # float32 networks differ a little between processors


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def number_after(text: str, start: str) -> float:
    found = re.search(rf"^{re.escape(start)}\s+(-?[\d.]+)", text, flags=re.MULTILINE)
    assert found, f"no line begins with {start!r} in:\n{text}"
    return float(found.group(1))


def test_python_blocks_run_and_print_what_is_shown(capsys):
    codes, shown = blocks("python"), "\n".join(blocks("text"))
    assert codes and shown
    scope: dict[str, object] = {"__name__": "__main__"}
    outputs = []
    for number, code in enumerate(codes, start=1):
        exec(compile(code, f"README.md, python block {number}", "exec"), scope)
        outputs.append(capsys.readouterr().out)
        if ".plot()" in code:
            assert plt.get_fignums(), f"block {number} draws a figure"
        plt.close("all")
    (printed,) = (text for text in outputs if "R2 on new rows:" in text)
    for name in ("Intercept", "age", "sex[T.male]", "loc: s(bmi)"):
        assert abs(number_after(printed, name) - number_after(shown, name)) < COEFFICIENT, name
    new, old = (number_after(text, "R2 on new rows:") for text in (printed, shown))
    assert abs(new - old) < R2


def test_documentation_begins_with_the_same_lines():
    front = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for language in ("sh", "python"):
        assert blocks(language, front) == blocks(language)[:1]


def test_pictures_and_links_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    inside = [link for link in links if "://" not in link]
    missing = [link for link in inside if not (ROOT / link).exists()]
    assert not missing, f"README links to {missing}"
    pictures = [ROOT / link for link in inside if link.endswith(".png")]
    assert pictures and all(path.stat().st_size < LARGEST_PICTURE for path in pictures)


def test_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in set(re.findall(r"\bmake (\w+)", README)):
        assert re.search(rf"^{name}:", makefile, flags=re.MULTILINE), name
