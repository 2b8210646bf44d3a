"""The reference in assets/, made from the sources: `python tests/reference.py` writes it anew."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from test_package import LAYERS

ROOT = Path(__file__).parents[1]
API, COMMANDS = ROOT / "assets" / "api.md", ROOT / "assets" / "commands.md"

INSIDE = {
    "_version",
    "cli",
    "kernels",
    "lock",
    "outputs",
    "paths",
    "settings",
    "shares_plot",
    "stages",
    "unfinished",
}  # no user's business
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$")
ITEM = re.compile(r"^([A-Za-z_][\w]*(?:, [A-Za-z_][\w]*)*): (.*)$")

API_HEAD = """# The Python API

Every public name with its docstring, from the sources by `python tests/reference.py`. `lmaseg` itself holds what most
programs need; the modules below are listed from the top down: each uses only those after it. Images are `(H, W, 3)`
uint8 RGB and label maps `(H, W)` uint8 class ids unless it says otherwise; B, T, C and D stand for batch, past frames,
key and value channels, h and w for cells of the feature map.
"""


def commands_page() -> str:
    """The commands as typer describes them; its version is noted, as others word this otherwise."""
    docs = subprocess.run(
        [sys.executable, "-m", "typer", "lmaseg.cli", "utils", "docs", "--name", "lmaseg"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return f"<!-- python tests/reference.py, typer {version('typer')} -->\n\n{docs}"


def api_page() -> str:
    """The Markdown of every public name, module by module."""
    modules = ["lmaseg", *public_modules()]
    listed = [f"- [`{module}`](#{_anchor(module)}): {_summary(_tree(module))}" for module in modules]
    return "\n".join([API_HEAD, *listed, "", *(_module(module) for module in modules)]).rstrip() + "\n"


def public_modules() -> list[str]:
    """Names of the modules a user may import, from the top layer down; of packages only what they offer themselves."""
    names = [name for layer in reversed(LAYERS) for name in sorted(layer - INSIDE) if _path(f"lmaseg.{name}").exists()]
    found = [f"lmaseg.{name}" for name in names]
    at = found.index("lmaseg.datasets")
    found[at : at + 1] = ["lmaseg.datasets." + name for name in ("camvid", "cityscapes", "clip", "folder")]
    return found


def public_names(module: str) -> dict[str, tuple[str, ast.stmt]]:
    """What a module offers: name -> (module it is defined in, its node); `__all__`, or all that has no underscore."""
    tree = _tree(module)
    own = {name: (module, node) for node in tree.body for name in _defined(node)}
    listed = next((node for node in tree.body if "__all__" in _defined(node)), None)
    if listed is None:
        documented = {name: found for name, found in own.items() if not is_value(found[1]) or _comment(tree, found[1])}
        return {name: found for name, found in documented.items() if not name.startswith("_")}
    homes = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names = [name for name in ast.literal_eval(listed.value) if not name.startswith("_")]
    return {name: own[name] if name in own else public_or_own(homes[name], name) for name in names}


def public_or_own(module: str, name: str) -> tuple[str, ast.stmt]:
    """Where a name that is imported from a module is defined in the end."""
    for node in _tree(module).body:
        if name in _defined(node):
            return module, node
    return public_names(module)[name]


def _module(module: str) -> str:
    tree = _tree(module)
    entries = [_entry(module, name, *found) for name, found in public_names(module).items()]
    return "\n".join([f"## `{module}`", "", _markdown(ast.get_docstring(tree) or ""), "", *entries])


def _entry(module: str, name: str, home: str, node: ast.stmt) -> str:
    title = f"### `{module}.{name}`\n"
    if module != "lmaseg" and name in public_names("lmaseg"):
        return f"{title}\nSee [`lmaseg.{name}`](#{_anchor(f'lmaseg.{name}')}).\n"
    if is_value(node):
        return f"{title}\n{_markdown(_comment(_tree(home), node) or '')}\n"
    header, fields, methods = _header(home, node), [], []
    if isinstance(node, ast.ClassDef):
        header, fields, methods = _class(name, home, node)
    return "\n".join([title, *_code(header), _markdown(ast.get_docstring(node) or ""), "", *fields, *methods])


def _class(name: str, home: str, node: ast.ClassDef) -> tuple[str, list[str], list[str]]:
    """The header with constructor and fields, what is said of the fields, and the documented methods."""
    annotated = {name: field for field in node.body for name in _defined(field) if isinstance(field, ast.AnnAssign)}
    fields = {name: field for name, field in annotated.items() if _is_public(name)}
    header = [_header(home, node), *(_field(home, field) for field in fields.values())]
    methods = []
    for method in (each for each in node.body if isinstance(each, ast.FunctionDef)):
        text = _markdown(ast.get_docstring(method) or "")
        if method.name == "__init__":
            header += [_indented(_header(home, method)), *(f"        # {line}" for line in text.splitlines())]
        elif text and _is_public(method.name):
            methods += [f"#### `{name}.{method.name}`", "", *_code(_header(home, method)), text, ""]
    said = [f"- `{field}`: {_flat(text)}" for field, at in fields.items() if (text := _comment(node, at))]
    return "\n".join(header), [*said, ""] if said else [], methods


def _field(home: str, field: ast.AnnAssign) -> str:
    """A field as written, of a `setting` its default alone."""
    if isinstance(field.value, ast.Call) and ast.unparse(field.value.func) == "setting":
        kind, default = ast.unparse(field.annotation), ast.unparse(field.value.args[0])
        return f"    {ast.unparse(field.target)}: {kind} = {default}"
    return _source(home, field.lineno, field.end_lineno)


def _is_public(name: str) -> bool:
    return name == "__call__" or not name.startswith("_")


def _code(text: str) -> list[str]:
    return ["```python", text, "```", ""]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _source(home: str, first: int, last: int | None) -> str:
    return "\n".join(_path(home).read_text().splitlines()[first - 1 : last])


def _header(home: str, node: ast.stmt) -> str:
    """The lines of a definition before its body, as written, with the decorators that change what it is."""
    lines = _source(home, node.lineno, node.body[0].lineno - 1).splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    kept = ["@" + ast.unparse(each) for each in node.decorator_list if ast.unparse(each).startswith(DECORATORS)]
    header = "\n".join(line[indent:] for line in lines).rstrip()
    return "\n".join([*kept, header.removesuffix(":")])


DECORATORS = ("property", "staticmethod", "classmethod", "contextmanager", "dataclass", "cached_property")


def _markdown(docstring: str) -> str:
    """Sections become lists, examples become blocks."""
    out: list[str] = []
    lines = docstring.splitlines()
    while lines:
        section = SECTION.match(lines[0])
        if section:
            lines.pop(0)
            block = _take(lines, lambda line: not line or line.startswith("    "))
            out += [f"**{section[1]}**", "", *_items([line[4:] for line in block]), ""]
        elif lines[0].startswith(">>>"):
            out += ["```python", *_take(lines, bool), "```"]
        elif lines[0].startswith("    "):
            out += ["```", *(line[4:] for line in _take(lines, bool)), "```"]
        else:
            out.append(lines.pop(0))
    return "\n".join(out).strip()


def _take(lines: list[str], wanted) -> list[str]:
    taken = []
    while lines and wanted(lines[0]):
        taken.append(lines.pop(0))
    return taken


def _items(lines: list[str]) -> list[str]:
    items: list[str] = []
    for line in lines:
        item = ITEM.match(line)
        if item:
            items.append(f"- `{item[1]}`: {item[2]}")
        elif line.strip() and items and line.startswith(" "):
            items[-1] += " " + line.strip()
        elif line.strip():
            items.append(line.strip())
    return items


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def is_value(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign)


def _defined(node: ast.stmt) -> list[str]:
    """The names a statement gives a meaning to."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []


def _comment(parent: ast.Module | ast.ClassDef, node: ast.stmt) -> str | None:
    """The string below an assignment, or the text of its `setting`, which says what it is."""
    if (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "setting"
    ):
        return ast.literal_eval(node.value.args[1])
    after = parent.body[parent.body.index(node) + 1 :][:1]
    if after and isinstance(after[0], ast.Expr) and isinstance(after[0].value, ast.Constant):
        return str(after[0].value.value)
    return None


TREES: dict[str, ast.Module] = {}


def _tree(module: str) -> ast.Module:
    if module not in TREES:  # parsed once, as nodes are looked up by identity
        TREES[module] = ast.parse(_path(module).read_text())
    return TREES[module]


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _anchor(module: str) -> str:
    return module.replace(".", "")


def _summary(tree: ast.Module) -> str:
    return _flat((ast.get_docstring(tree) or "").partition("\n\n")[0])


if __name__ == "__main__":
    for page, text in ((API, api_page()), (COMMANDS, commands_page())):
        page.write_text(text)
        print(page)
