"""Nothing in a training step waits for the device: rehearsed on the meta device, which has shapes but no values.

What needs a value there fails, as it would make a GPU's queue run dry; copies to it that wait are caught on their way.
`pytest -m gpu` asks a real GPU the same.
"""

import traceback

import pytest
import torch
from marks import slow
from test_train import options, random_store
from torch.utils._python_dispatch import TorchDispatchMode

from lmaseg import attention
from lmaseg.datasets import photometry
from lmaseg.labels import CAMVID
from lmaseg.stream import _per_channel
from lmaseg.train import Mixture, fresh_network
from lmaseg.train.learner import Learner

META = torch.device("meta")


class Copies(TorchDispatchMode):
    """Notes where tensors are copied from main memory to the device while the program waits."""

    def __init__(self):
        super().__init__()
        self.waited = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        comes = [x for x in args if isinstance(x, torch.Tensor) and x.device.type == "cpu"]
        goes = isinstance(result, torch.Tensor) and result.device == META
        copies = function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        if copies and goes and comes and not (kwargs or {}).get("non_blocking"):
            own = [frame for frame in traceback.extract_stack() if "/lmaseg/" in frame.filename]
            self.waited.append(f"{own[-1].filename}:{own[-1].lineno}" if own else "here")
        return result


@pytest.fixture
def meta_stand_ins(monkeypatch):
    """In place of what the meta device lacks: generators, mixed precision, and compiled attention."""
    randn = torch.randn
    monkeypatch.setattr(photometry, "Generator", lambda device: torch.Generator())
    monkeypatch.setattr(
        photometry.torch, "randn", lambda *size, generator, **where: randn(*size, **where or {"generator": generator})
    )
    monkeypatch.setitem(attention.BACKENDS, "tiled", attention.BACKENDS["reference"])
    yield
    _per_channel.cache_clear()


@pytest.mark.parametrize("stage", ["memory", slow("base"), slow("joint")])
def test_a_step_waits_for_nothing(stage, meta_stand_ins, monkeypatch):
    monkeypatch.setattr("lmaseg.train.learner.has_fresh_keys", lambda net: False)  # looked at before the first step
    store = random_store(past=3)
    store.images, store.labels = store.images.to(META), store.labels.to(META)
    settings = options(stage=stage, past=3, ohem=0.7, lovasz=1.0, class_weights=False, bfloat16=False)
    net = fresh_network(CAMVID, size=(40, 48)).to(META)
    learner = Learner(net, Mixture({"noise": store}), settings)
    learner.prepare(None)
    for _ in range(3):  # with one past frame, some or all of them
        with Copies() as copies:
            learner.take_step()
        if learner.step > 1:  # what is made once may wait
            assert copies.waited == []


def test_a_copy_that_waits_is_caught():
    with Copies() as copies:
        torch.ones(2).to(META)
        torch.ones(2).to(META, non_blocking=True)
        torch.empty(2, device=META).copy_(torch.ones(2))
    assert len(copies.waited) == 2
