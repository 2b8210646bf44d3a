"""Local memory attention: a video network made of any single-frame encoder and decoder.

Paul, Danelljan, Van Gool, Timofte, "Local Memory Attention for Fast Video Semantic Segmentation", IROS 2021
(arXiv 2101.01715).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.attention import local_attention
from lmaseg.labels import LabelSet
from lmaseg.models.halves import Features, tensor_of
from lmaseg.models.motion import compensate_motion
from lmaseg.models.projections import Encoded
from lmaseg.models.spec import ModelSpec, Preprocess


class LocalMemoryNet(nn.Module):
    """A function of a frame and of past keys and values; it keeps no state between frames.

    Args:
        encoder: (B, 3, H, W) -> (B, F, H/stride, W/stride), rounded up, with an attribute `stride`; if it has an
            attribute `remainder`, the sizes it is made for are multiples of the stride plus that.
        decoder: (B, F, h, w) -> (B, classes, h*stride, w*stride); one with an attribute `logit_stride` leaves that many
            pixels in each direction to one logit.
        projections: features -> `Encoded`; `NoProjections` in a single-frame network.
        fusion: (query value, memory value) -> (B, F, h, w); never called in a single-frame network.
        spec, labels, preprocess: what the weights are, for their checkpoint and for whoever feeds the network.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        projections: nn.Module,
        fusion: nn.Module,
        *,
        spec: ModelSpec,
        labels: LabelSet,
        preprocess: Preprocess,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.projections = projections
        self.fusion = fusion
        self.spec = spec
        self.labels = labels
        self.preprocess = preprocess
        self.ranges: dict[str, tuple[float, float]] = {}
        """Least and largest values of activations, for int8: under a convolution's path those of what it returns, after
        the addition and the ReLU that follow; under PATH.input and PATH.addend of numbers that it reads and adds."""

    @property
    def stride(self) -> int:
        """Pixels per feature cell."""
        return int(self.encoder.stride)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """Frames are padded to multiples of this: the stride, or a multiple of it if the encoder needs that."""
        return int(getattr(self.encoder, "multiple", self.stride))

    @property
    def logit_stride(self) -> int:
        """Pixels per logit of what `decode` returns; `forward` interpolates them to the size of the frame."""
        return int(getattr(self.decoder, "logit_stride", 1))

    def encode(self, frames: Tensor) -> Encoded:
        """Features and projections of (B, 3, H, W) preprocessed frames."""
        encoded: Encoded = self.projections(self.features_of(frames))
        return encoded

    def features_of(self, frames: Tensor) -> Features:
        """What the encoder makes of (B, 3, H, W) preprocessed frames; sizes that do not fit are padded by edges."""
        remainder = int(getattr(self.encoder, "remainder", 0))
        bottom, right = ((remainder - side) % self.multiple for side in frames.shape[-2:])
        if bottom or right:
            frames = F.pad(frames, (0, right, 0, bottom), mode="replicate")
        features: Features = self.encoder(frames)
        return features

    @property
    def recurrent(self) -> bool:
        """Whether a frame's value is what the memory made of its features, so that it draws on all frames before."""
        return bool(getattr(self.fusion, "recurrent", False))

    def recall(
        self, encoded: Encoded, keys: Tensor | None = None, values: Tensor | None = None
    ) -> tuple[Features, Tensor]:
        """What the decoder reads of encoded frames, given (B, T, ., h, w) past keys and values, and their own values
        (B, D, h, w), which later frames receive.

        Raises:
            ValueError: past keys for a network without a memory.
        """
        if keys is None or values is None or keys.shape[1] == 0:
            return encoded.features, encoded.value
        if not self.spec.has_memory:
            raise ValueError("this network segments every frame alone: pass it no past keys and values")
        attended = local_attention(encoded.query, *self.past_of(encoded, keys, values), self.spec.window)
        fused = self.fusion(encoded.query_value, attended)
        return fused, self.value_of(encoded, fused)

    def past_of(self, encoded: Encoded, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Past keys and values as encoded frames attend to them: a recurrent memory goes with the camera."""
        return compensate_motion(encoded.key, keys, values) if self.recurrent else (keys, values)

    def value_of(self, encoded: Encoded, fused: Features) -> Tensor:
        """What later frames receive of encoded frames that the fusion made `fused` of, (B, D, h, w)."""
        return tensor_of(fused) if self.recurrent else encoded.value

    def decode(self, encoded: Encoded, keys: Tensor | None = None, values: Tensor | None = None) -> Tensor:
        """Logits of encoded frames, given (B, T, ., h, w) past keys and values.

        They are (B, classes, h*stride, w*stride), each side divided by `logit_stride`.

        Raises:
            ValueError: past keys for a network without a memory.
        """
        return self.decoder(self.recall(encoded, keys, values)[0])

    def forward(
        self, frame: Tensor, keys: Tensor | None = None, values: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Segment frames, given T = 0..memory_frames past ones.

        Args:
            frame: (B, 3, H, W) preprocessed.
            keys, values: (B, T, C, h, w) and (B, T, D, h, w) that earlier calls returned, in any order. None or
                T = 0 means a first frame: the decoder reads the encoder's features directly.

        Returns:
            logits (B, classes, H, W), and this frame's own key (B, C, h, w) and value (B, D, h, w).
        """
        encoded = self.encode(frame)
        features, value = self.recall(encoded, keys, values)
        return self.at_pixels(self.decoder(features), frame.shape[-2:]), encoded.key, value

    def at_pixels(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """What `decode` returned as (B, classes, *size) logits of the frame, the padding cut off."""
        if self.logit_stride > 1:
            sides = [side * self.logit_stride for side in logits.shape[-2:]]  # a scale's rounding cannot be exported
            logits = F.interpolate(logits, sides, mode="bilinear", align_corners=False)
        return logits[..., : size[0], : size[1]]
