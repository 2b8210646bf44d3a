from pathlib import Path

import numpy as np
import pytest
import torch

import lmaseg
from lmaseg import CAMVID, Segmenter, stream
from lmaseg.decision import CONFIDENCE, SMOOTH, UNSURE, labels_at, smoothed
from lmaseg.models import FeatureMemory, ModelSpec, Preprocess, build
from lmaseg.models.memory import RecurrentMemory
from lmaseg.stream import preprocess
from lmaseg.video import VideoReader

STREET = Path(__file__).parents[1] / "assets" / "street.mp4"


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    spec = ModelSpec("erfnet", 11, memory_frames=3, window=3, key_channels=16, value_channels=64, fusion="sigmoid-do1")
    return build(spec, CAMVID, Preprocess(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), size=(64, 96))).eval()


def noise(seed, height=64, width=96):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (61, 97), (200, 130), (33, 500)])
def test_labels_have_the_source_size(net, height, width):
    labels = Segmenter(net)(noise(0, height, width))
    assert labels.shape == (height, width)
    assert labels.dtype == np.uint8
    assert labels.max() < 11


@pytest.mark.parametrize(
    ("size", "source", "expected"),
    [
        (None, (360, 640), (64, 112)),
        (None, (640, 360), (112, 64)),
        (128, (360, 640), (128, 224)),
        ((100, 200), (360, 640), (96, 200)),
        (None, (64, 96), (64, 96)),
    ],
)
def test_working_size(net, size, source, expected):
    assert Segmenter(net, size=size).working_size(*source) == expected


@pytest.mark.parametrize("size", [7, 31, 9000, (64, 7)])
def test_absurd_sizes_are_refused(net, size):
    with pytest.raises(ValueError, match="is not between 32 and 8192"):
        Segmenter(net, size=size)


def test_a_network_without_a_memory_runs_without_one_or_with_an_untrained_one():
    torch.manual_seed(0)
    single = build(ModelSpec("erfnet", 11), CAMVID, Preprocess(size=(64, 96))).eval()
    alone, remembering, again = Segmenter(single), Segmenter(single, memory=2), Segmenter(single, memory=2)
    assert (alone.memory.frames, remembering.memory.frames) == (0, 2)
    pairs = [(alone(noise(i)), remembering(noise(i)), again(noise(i))) for i in range(3)]
    assert np.array_equal(pairs[0][0], pairs[0][1])
    assert not np.array_equal(pairs[2][0], pairs[2][1])
    assert all(np.array_equal(ours, others) for _, ours, others in pairs)


def test_streams_what_the_network_computes(net):
    frames = [noise(i) for i in range(5)]
    segmenter = Segmenter(net, dtype=torch.float32)
    ours = [segmenter(frame) for frame in frames]
    memory = FeatureMemory(3)
    with torch.inference_mode():
        for frame, labels in zip(frames, ours, strict=True):
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
            settings = net.preprocess
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (settings.mean, settings.std))
            logits, key, value = net((pixels - mean) / std, *memory.read())
            memory.push(key, value)
            assert (logits.argmax(1)[0].numpy() == labels).mean() > 0.999


def test_memory_and_reset(net):
    with_memory, without = Segmenter(net), Segmenter(net, memory=0)
    for i in range(3):
        first = with_memory(noise(i)), without(noise(i))
    assert (first[0] != first[1]).any()
    with_memory.reset()
    assert (with_memory(noise(9)) == without(noise(9))).all()


def streamed(segmenter, frames, resets):
    """Labels of frames given `segmenter.batch` at a time."""
    starts = range(0, len(frames), segmenter.batch)
    parts = [(frames[i : i + segmenter.batch], resets[i : i + segmenter.batch]) for i in starts]
    return np.concatenate([segmenter.submit(*part).result() for part in parts])


@pytest.mark.parametrize(("batch", "memory"), [(2, 1), (5, 3), (16, 0)])
def test_batches_give_the_labels_of_single_frames(net, memory, batch):
    frames = [noise(i) for i in range(13)]
    resets = [i in (0, 4, 5, 11) for i in range(13)]
    alone, together = (Segmenter(net, memory=memory, dtype=torch.float32, batch=n) for n in (1, batch))
    labels = streamed(together, frames, resets)
    assert (labels == streamed(alone, frames, resets)).mean() >= 0.9999
    assert (labels != streamed(together, frames, [False] * 13)).any() == (memory > 0)


def test_confidence_is_the_probability_of_the_label(net):
    plain, telling = Segmenter(net, memory=0), Segmenter(net, memory=0, dtype=torch.float32, confidence=True)
    assert plain.submit([noise(0)]).result(CONFIDENCE) is None
    pending = telling.submit([noise(0)])
    labels, confidence = pending.result()[0], pending.result(CONFIDENCE)[0]
    with torch.inference_mode():
        image = preprocess(torch.from_numpy(noise(0))[None], net.preprocess, (64, 96), torch.float32)
        chances = net(image)[0].softmax(1)[0].numpy()
    assert np.abs(np.take_along_axis(chances, labels[None].astype(int), 0)[0] - confidence).max() < 1e-4
    assert (labels == chances.argmax(0)).mean() > 0.999


def test_unsure_pixels_are_left_unlabelled(net):
    telling = Segmenter(net, memory=0, confidence=True).submit([noise(0)])
    labels, confidence = telling.result(), telling.result(CONFIDENCE)
    least = float(np.median(confidence))
    for options in ({}, {"smooth": True}, {"confidence": True}):
        pending = Segmenter(net, memory=0, min_confidence=least, **options).submit([noise(0)])
        assert (pending.result() == np.where(confidence < least, UNSURE, labels)).all()
    assert (Segmenter(net, memory=0, min_confidence=1.0)(noise(0)) == UNSURE).all()
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="is not between 0 and 1"):
            Segmenter(net, min_confidence=wrong)


def test_smooth_labels_have_smooth_edges_and_leave_the_others_as_they_are(net):
    assert net.logit_stride == 1
    plain, smoothing = (Segmenter(net, memory=0, smooth=smooth) for smooth in (False, True))
    assert plain.submit([noise(0)]).result(SMOOTH) is None
    pending = smoothing.submit([noise(0)])
    labels, smooth = pending.result()[0], pending.result(SMOOTH)[0]
    assert (plain(noise(0)) == labels).all()
    assert outline_length(smooth) < 0.9 * outline_length(labels)
    assert lonely_pixels(smooth) < 0.4 * lonely_pixels(labels)


def outline_length(labels):
    """Pairs of neighbours that differ."""
    return sum(np.count_nonzero(np.diff(labels.astype(int), axis=axis)) for axis in (0, 1))


def lonely_pixels(labels):
    """Pixels that differ from all four neighbours."""
    inner = labels[1:-1, 1:-1]
    around = labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:]
    return int(np.all([inner != neighbour for neighbour in around], axis=0).sum())


def test_smoothing_takes_out_what_differs_from_pixel_to_pixel():
    combed = torch.zeros(1, 2, 6, 10)
    combed[:, 1] = -0.1
    combed[:, 1, :, ::2] = combed[:, 0, ::2] = 0.5
    assert set(labels_at(combed, 6, 10).unique().tolist()) == {0, 1}
    assert (labels_at(smoothed(combed), 6, 10) == 0).all()


def test_a_shot_opened_within_a_batch_forgets_the_frames_before_it(net):
    frames = [noise(i) for i in range(6)]
    segmenter = Segmenter(net, dtype=torch.float32, batch=6)
    after = segmenter.submit(frames, [False] * 3 + [True] + [False] * 2).result()[3:]
    segmenter.reset()
    assert (segmenter.submit(frames[3:]).result() == after).mean() >= 0.9999


def test_another_precision_leaves_the_callers_network_alone(net):
    labels = Segmenter(net, dtype=torch.bfloat16)(noise(0))
    assert labels.shape == (64, 96)
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_bfloat16_labels_agree_with_float32():
    exact, fast = (Segmenter(lmaseg.load(), size=96, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    with VideoReader(STREET, end=0.1) as reader:
        agreement = [(exact(frame.image) == fast(frame.image)).mean() for frame in reader]
    assert len(agreement) == 3
    assert np.mean(agreement) >= 0.98


@pytest.mark.slow
def test_bfloat16_labels_agree_with_float32_on_a_real_clip():
    clip = Path(__file__).parents[2] / "shared" / "camvid" / "clip_0016E5_15hz.mp4"
    if not clip.is_file():
        pytest.skip(f"needs {clip}, which is not part of the project")
    exact, fast = (Segmenter(lmaseg.load(), dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    with VideoReader(clip, end=1.0) as reader:
        agreement = [(exact(frame.image) == fast(frame.image)).mean() for frame in reader]
    assert len(agreement) == 15
    assert np.mean(agreement) >= 0.995


def test_preprocess_scales_and_normalises():
    pixels = torch.full((1, 4, 6, 3), 255, dtype=torch.uint8)
    settings = Preprocess(mean=(0.5, 0.0, 1.0), std=(0.5, 2.0, 1.0))
    out = preprocess(pixels, settings, (2, 3), torch.float32)
    assert out.shape == (1, 3, 2, 3)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([1.0, 0.5, 0.0]))


def test_labels_are_decided_after_interpolation():
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = 1.0
    logits[0, 2] = 0.7  # between the two cells neither 0 nor 1 reaches it
    assert set(labels_at(logits, 1, 2)[0, 0].tolist()) == {0, 1}
    assert 2 in labels_at(logits, 1, 8)[0, 0].tolist()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (noise(0).astype(np.float32) / 255, "float32: convert it first"),
        (noise(0)[..., 0], r"not \(64, 96\) uint8"),
        (np.zeros((64, 96, 4), np.uint8), r"not \(64, 96, 4\) uint8"),
        (np.zeros((0, 96, 3), np.uint8), r"not \(0, 96, 3\) uint8"),
        ("drive.mp4", "an array, not a str: lmaseg.segment reads videos"),
        (torch.zeros(64, 96, 3, dtype=torch.uint8), "an array, not a Tensor"),
    ],
)
def test_what_is_no_frame_is_refused_in_a_sentence(net, frame, message):
    with pytest.raises(ValueError, match=message):
        Segmenter(net)(frame)


def test_frames_beyond_the_batch_or_of_two_sizes_are_refused(net):
    segmenter = Segmenter(net, batch=2)
    for count in (0, 3):
        with pytest.raises(ValueError, match=f"{count} frames .*: give 1 to 2 frames"):
            segmenter.submit([noise(i) for i in range(count)])
    with pytest.raises(ValueError, match="with 1 resets"):
        segmenter.submit([noise(0), noise(1)], [True])
    with pytest.raises(ValueError, match="cannot be labelled at once"):
        segmenter.submit([noise(0), noise(1, height=32)])


class GraphStandIn(stream._Graph):
    """A CUDA graph as a CPU can play it: the work is done again in the storage that it was recorded with."""

    def __init__(self, pixels, label, memory):
        self._pixels, self._storage = pixels, memory.storage
        self._label, self._memory = label, memory
        self.replayed = 0

    def replay(self, pixels):
        self.replayed += 1
        now = self._memory.storage
        store(self._memory, self._storage)
        try:
            return self._label.func(pixels, [False] * len(pixels), [getattr(self._memory, "_second", 0)] * len(pixels))
        finally:
            store(self._memory, now)


def store(memory, storage):
    if isinstance(memory, FeatureMemory):
        memory._keys, memory._values = storage
    else:
        memory._speaking.storage, memory._growing.storage = storage[:2], storage[2:]


@pytest.mark.parametrize(
    ("make", "expected_graphs"),
    [
        (lambda: FeatureMemory(2, 2), 3),
        (lambda: RecurrentMemory(2), 4),
    ],  # the last size with one average, then with two
    ids=["plain", "recurrent"],
)
def test_a_recorded_graph_is_dropped_when_the_size_changes(net, monkeypatch, make, expected_graphs):
    """Large, small and large again without a reset: the first graph's storage is gone by then."""
    monkeypatch.setattr(stream, "_Graph", GraphStandIn)
    monkeypatch.setattr(
        Segmenter,
        "_replayable",
        lambda self, pixels, resets, seconds: self.memory.settled(seconds) if len(pixels) == self.batch else 0,
    )
    recording = Segmenter(net, memory=2, batch=2, dtype=torch.float32)
    monkeypatch.setattr(recording, "memory", make())
    plain = Segmenter(net, memory=2, batch=1, dtype=torch.float32)
    plain.memory = make()
    graphs = []
    for part, size in enumerate([(64, 96), (32, 64), (64, 96)]):
        for first in range(0, 22, 2):
            pair = [noise(100 * part + first + i, *size) for i in range(2)]
            expected = np.stack([plain(frame) for frame in pair])
            assert (recording.submit(pair).result() == expected).mean() >= 0.9999
            graphs += [graph for graph in recording._graphs.values() if graph not in graphs]
    assert len(graphs) == expected_graphs
    assert all(graph.replayed for graph in graphs)
