"""Compare an overlaid video with its source: `python tests/check_sample.py SOURCE OUTPUT`, exit 1 on a difference."""

import sys

import av


def times_and_sizes(path):
    with av.open(path) as container:
        stream = container.streams.video[0]
        return [(frame.pts * stream.time_base, frame.width, frame.height) for frame in container.decode(stream)]


def main():
    source, output = (times_and_sizes(path) for path in sys.argv[1:3])
    if source != output:
        sys.exit(f"{sys.argv[2]} does not have the frames of {sys.argv[1]}: {len(output)} for {len(source)}")
    print(f"{len(output)} frames with the source's timestamps and size")


if __name__ == "__main__":
    main()
