"""Functions made known to torch as operators that its compilers and exporters take as they are."""

from collections.abc import Callable
from typing import Any

import torch


def operator(name: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator like `torch.library.custom_op`, for functions that mutate nothing and have no gradient.

    The operators of `custom_op` import all of torch.compile when they are first called, which takes longer than
    everything else a short run does before its first frame. `fake` has the same signature, and returns empty tensors.
    """

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        torch.library.define(name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(name, "default", function)
        torch.library.register_fake(name, fake)
        space, _, short = name.partition("::")
        made: Callable[..., Any] = getattr(getattr(torch.ops, space), short).default
        return made

    return make
