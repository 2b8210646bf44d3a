"""The moving average of a network's weights."""

import copy

import torch
from torch import distributed
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lmaseg.models import LocalMemoryNet


class MovingAverage:
    """An exponential moving average of a network's weights and batch-norm statistics.

    `net` is the averaged network, in evaluation mode. The average follows faster at first, when there is little to
    average.
    """

    def __init__(self, net: LocalMemoryNet, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self._decay = decay
        own, other = self.net.state_dict(), net.state_dict()  # hold the tensors themselves: found once, used every step
        floats = [name for name, tensor in own.items() if tensor.is_floating_point()]
        self._pairs = [own[name] for name in floats], [other[name] for name in floats]
        self._counters = [(own[name], other[name]) for name in own.keys() - set(floats)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's weights after step 0, 1, ..."""
        decay = min(self._decay, (step + 1) / (step + 10))
        get_ema_multi_avg_fn(decay)(*self._pairs, step)  # type: ignore[no-untyped-call]
        for own, other in self._counters:
            own.copy_(other)

    def agree(self) -> None:
        """Give all processes of a group the average of the first: their batch-norm statistics differ."""
        for tensor in self._pairs[0]:
            distributed.broadcast(tensor, 0)
