"""What --help looks like: short words for the types of options, and none for flags and arguments."""

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

SHORT_TYPES = {"int": "N", "float": "N", "Path": "PATH", "str": "TEXT"}


class _Plain:
    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
            elif isinstance(parameter, TyperOption) and parameter.metavar is None:
                short = SHORT_TYPES.get(parameter.bare_type())
                parameter.metavar = "" if parameter.is_flag else short
        return parameters


class PlainCommand(_Plain, TyperCommand):
    """A command; its usage line shows arguments by their metavars alone: SOURCE..., or [SOURCE...] if optional."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [each for each in self.get_params(ctx) if isinstance(each, TyperArgument)]
        shown = [(each.display_name_raw, each.required) for each in arguments]
        return ["[OPTIONS]", *(name if required else f"[{name}]" for name, required in shown)]


class PlainGroup(_Plain, TyperGroup):
    """The program, which has commands."""
