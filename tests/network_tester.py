"""One tester for all networks: a test class per network inherits `NetworkTests` and says how to make it."""

import pytest
import torch
from torch import Tensor

import lmaseg
from lmaseg import checkpoint
from lmaseg.export import trace
from lmaseg.models import LocalMemoryNet


class NetworkTests:
    """What every video network does, whatever it is made of.

    Without gradients, but not in inference mode: some networks keep tensors that they make on the way, and those of
    inference mode are of no use to training.
    """

    frame_size = (64, 96)
    """A (height, width) that fits the network's stride."""
    attached = False
    """Whether checkpoints need `make` to be loaded."""
    idle: tuple[str, ...] = ()
    """Parts of names of parameters that the network's own code never uses."""
    any_size = True
    """Whether torch can export the network's own code for frames of any size."""

    def make(self) -> LocalMemoryNet:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def net(cls) -> LocalMemoryNet:
        torch.manual_seed(0)
        return cls().make().eval()

    def frames(self, batch=1, size=None) -> Tensor:
        return torch.rand(batch, 3, *(size or self.frame_size), generator=torch.Generator().manual_seed(batch))

    def past(self, net: LocalMemoryNet, count: int, batch=1, size=None) -> tuple[Tensor, Tensor]:
        """(B, T, ., h, w) keys and values of `count` different frames."""
        with torch.no_grad():
            made = [net(self.frames(batch, size).roll(8 * i, -1))[1:] for i in range(max(1, count))]
        keys, values = (torch.stack(parts, 1)[:, :count] for parts in zip(*made, strict=True))
        return keys, values

    def test_any_number_of_past_frames(self, net):
        frame = self.frames()
        with torch.no_grad():
            alone, key, value = net(frame)
            for count in range(net.spec.memory_frames + 1):
                logits, *own = net(frame, *self.past(net, count))
                assert logits.shape == (1, net.spec.classes, *self.frame_size)
                assert logits.isfinite().all()
                assert torch.equal(logits, alone) == (count == 0)
                assert torch.equal(own[0], key)
                assert torch.equal(own[1], value) == (count == 0 or not net.recurrent)
        assert key.shape[:2] == (1, net.spec.key_channels)
        assert value.shape[:2] == (1, net.spec.value_channels)
        assert key.shape[2:] == value.shape[2:]

    def test_gradients_reach_every_parameter(self, net):
        net = self.make().train()
        first, key, value = net(self.frames(2))
        logits, _, _ = net(self.frames(2).flip(-1), key.unsqueeze(1), value.unsqueeze(1))
        (logits.square().mean() + first.square().mean()).backward()
        without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert [name for name in without if not any(part in name for part in self.idle)] == []

    def test_odd_sizes(self, net):
        height, width = self.frame_size[0] - 3, self.frame_size[1] - 13
        frame = self.frames(size=(height, width))
        with torch.no_grad():
            logits, key, _ = net(frame, *self.past(net, 1, size=(height, width)))
        assert logits.shape[-2:] == (height, width)
        multiples = [-(-(side - getattr(net.encoder, "remainder", 0)) // net.multiple) for side in (height, width)]
        cells = [count * net.multiple // net.stride for count in multiples]
        assert [side - bool(getattr(net.encoder, "remainder", 0)) for side in key.shape[-2:]] == cells

    def test_frames_of_a_batch_do_not_see_each_other(self, net):
        frames, (keys, values) = self.frames(2), self.past(net, 2, batch=2)
        with torch.no_grad():
            both = net(frames, keys, values)[0]
            second = net(frames[1:], keys[1:], values[1:])[0]
        assert_close(second, both[1:])

    def test_encoding_together_and_decoding_apart(self, net):
        """As `Segmenter` does with a batch of frames."""
        frames, (keys, values) = self.frames(3), self.past(net, 1)
        with torch.no_grad():
            encoded = net.encode(frames)
            apart = net.decode(type(encoded)(*(part[1:2] for part in encoded)), keys, values)
            alone = net(frames[1:2], keys, values)[0]
        assert_close(net.at_pixels(apart, self.frame_size), alone)

    def test_checkpoint_round_trip(self, net, tmp_path):
        file = tmp_path / "net.safetensors"
        checkpoint.save(net, file, about={})
        again = lmaseg.load(file, net=self.make if self.attached else None)
        file.unlink()  # the largest are hundreds of MB
        assert (again.spec, again.labels, again.preprocess) == (net.spec, net.labels, net.preprocess)
        frame, past = self.frames(), self.past(net, 2)
        with torch.no_grad():
            assert torch.equal(again(frame, *past)[0], net(frame, *past)[0])

    def test_inference_leaves_the_weights_alone(self, net):
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        modes = [module.training for module in net.modules()]
        with torch.no_grad():
            net(self.frames(), *self.past(net, 2))
        after = net.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert [module.training for module in net.modules()] == modes

    @pytest.mark.slow
    def test_compiled(self, net):
        compiled = torch.compile(net, backend="aot_eager")
        with torch.no_grad():
            for count in (0, 2):
                keys, values = (part.clone() for part in self.past(net, count))  # no inference tensors
                for ours, eager in zip(
                    compiled(self.frames(), keys, values), net(self.frames(), keys, values), strict=True
                ):
                    assert_close(ours, eager)

    @pytest.mark.slow
    def test_exported(self, net):
        if not self.any_size:  # its own code is made for one size when it is traced
            self.check_program(net, trace(net, self.frame_size).module(), self.frame_size)
            return
        remainder = getattr(net.encoder, "remainder", 0)
        program = trace(net).module()
        for cells in ((9, 12), (11, 10)):
            self.check_program(net, program, tuple(max(net.multiple, 16) * side + remainder for side in cells))

    def check_program(self, net, program, size):
        for count, batch in ((0, 1), (1, 3), (net.spec.memory_frames, 1)):
            inputs = self.frames(batch, size), *self.past(net, count, batch, size)
            with torch.no_grad():
                for ours, eager in zip(program(*inputs), net(*inputs), strict=True):
                    assert_close(ours, eager)


def assert_close(ours: Tensor, exact: Tensor) -> None:
    """Equal up to the rounding of float32, measured against the largest value."""
    assert ours.shape == exact.shape
    assert (ours - exact).abs().max() <= 1e-4 * exact.abs().max()
