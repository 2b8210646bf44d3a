"""A procedural street seen from a driving car, with exact labels: sample clip, test material, training data."""

from lmaseg.datasets.street.scene import Street, street_clip

__all__ = ["Street", "street_clip"]
