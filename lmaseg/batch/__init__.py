"""Many videos, cut into chunks that are segmented anywhere and joined again: what `lmaseg batch` does.

A frame's labels depend on the few frames before it alone, so a chunk that warms up on these has the labels of the
whole video. `plan.py` cuts a source, `chunk.py` segments a chunk, `join.py` puts the chunks together: three kinds of
task that any worker can do. `schedule.py` deals them out and knows nothing of how workers are reached (`executor.py`;
Ray's are in `lmaseg/cluster.py`); `manifest.py` remembers what is done.
"""
