"""A procedural street seen from a driving car, with exact labels: the sample clip, test material, training data.

`python -m tests.street DIR` draws pictures and label maps to train on; `--sample` draws what `assets/` holds.
"""

from .scene import Street, street_clip

__all__ = ["Street", "street_clip"]
