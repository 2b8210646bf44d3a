"""The reference in assets/ says what the sources say; what it lists is documented, and its examples run."""

import ast
import doctest
import inspect
from importlib import import_module
from importlib.metadata import version

import pytest
import reference
import torch
from test_package import PACKAGE

import lmaseg

REMEDY = "run python tests/reference.py and commit what it writes"

with_examples = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_the_api_page_is_up_to_date():
    assert reference.API.read_text() == reference.api_page(), REMEDY


def test_the_page_of_the_commands_is_up_to_date():
    kept, now = reference.COMMANDS.read_text(), reference.commands_page()
    if kept.splitlines()[0] != now.splitlines()[0]:
        pytest.skip(f"written with another version of typer than {version('typer')}")
    assert kept == now, REMEDY


def test_the_page_of_the_commands_names_every_option():
    """Whatever typer's version."""
    import typer.main

    from lmaseg.cli import app

    page = reference.COMMANDS.read_text()
    for name, command in typer.main.get_command(app).commands.items():
        section = page.split(f"## `lmaseg {name}`\n")[1].split("\n## ")[0]
        shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
        names = [name for parameter in shown for name in parameter.opts + parameter.secondary_opts]
        assert [option for option in names if option.startswith("-") and option not in section] == [], REMEDY


@pytest.mark.parametrize("module", ["lmaseg", *reference.public_modules()])
def test_every_public_name_is_documented(module):
    assert inspect.getdoc(import_module(module))
    for name, (home, node) in reference.public_names(module).items():
        if reference.is_value(node):
            continue  # listed because it is documented
        found = getattr(import_module(home), name)
        assert found.__doc__, f"{home}.{name}"
        if inspect.isclass(found):
            methods = [member for member in vars(found) if not member.startswith("_") and not is_hook(found, member)]
            assert [method for method in methods if not inspect.getdoc(getattr(found, method))] == [], found


@pytest.mark.parametrize("module", ["lmaseg", *reference.public_modules()])
def test_what_a_public_name_raises_is_named(module):
    for name, (_, node) in reference.public_names(module).items():
        if reference.is_value(node):
            continue
        parts = documented_parts(node) if isinstance(node, ast.ClassDef) else [node]
        said = " ".join(ast.get_docstring(part) or "" for part in [node, *parts])
        raised = {ast.unparse(each.exc).split("(")[0] for part in parts for each in ast.walk(part) if is_raise(each)}
        assert [error for error in raised & ERRORS if error not in said] == [], name


ERRORS = {"ValueError", *(name for name in lmaseg.__all__ if name.endswith("Error"))}


def is_raise(node):
    return isinstance(node, ast.Raise) and node.exc is not None


def documented_parts(node):
    """The methods that a user calls."""
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    return [method for method in methods if method.name == "__init__" or not method.name.startswith("_")]


def is_hook(owner, name):
    """Whether torch calls it (what a module computes is said by its class), or it is a plain value."""
    member = inspect.getattr_static(owner, name)
    return (name == "forward" and issubclass(owner, torch.nn.Module)) or not (
        callable(member) or isinstance(member, property)
    )


@pytest.mark.parametrize("module", with_examples)
def test_the_examples_in_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0
