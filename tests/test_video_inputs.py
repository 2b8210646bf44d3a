"""Where videos come from besides files: pipes, addresses, cameras; and keeping up with live ones."""

import contextlib
import itertools
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest
from media import number_of, write_video
from rtsp_server import RtspServer

from lmaseg.errors import VideoError
from lmaseg.images import open_source
from lmaseg.video import VideoReader
from lmaseg.video import decoder as decoder_module
from lmaseg.video.decoder import Decoder
from lmaseg.video.inputs import camera_device, display_name, is_camera, is_endless, is_repeatable
from lmaseg.video.newest import Newest

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("small_network")]


@pytest.mark.parametrize(
    ("name", "camera", "endless", "repeatable"),
    [
        ("camera:0", True, True, False),
        ("0", True, True, False),
        ("/dev/video3", True, True, False),
        ("rtsp://10.0.0.1/street", False, True, False),
        ("udp://239.0.0.1:1234", False, True, False),
        ("https://example.org/a.mp4", False, False, True),
        ("-", False, False, False),
        ("missing.mp4", False, False, False),
        (__file__, False, False, True),
    ],
)
def test_what_names_stand_for(name, camera, endless, repeatable):
    assert (is_camera(name), is_endless(name), is_repeatable(name)) == (camera, endless, repeatable)


def test_a_file_called_by_a_number_is_no_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").touch()
    assert not is_camera("7")


def test_cameras_of_other_platforms():
    assert camera_device("camera:1", "linux") == camera_device("1", "linux") == ("/dev/video1", "v4l2")
    assert camera_device("/dev/video2", "linux") == ("/dev/video2", "v4l2")
    assert camera_device("camera:1", "darwin") == ("1", "avfoundation")
    assert camera_device("camera:Front Camera", "win32") == ("video=Front Camera", "dshow")


def test_messages_do_not_show_passwords():
    assert display_name("rtsp://user:secret@10.0.0.1/a:b@c") == "rtsp://user:***@10.0.0.1/a:b@c"
    assert display_name("https://example.org/a:b@c") == "https://example.org/a:b@c"


READ = """
import sys
from lmaseg.errors import VideoError
from lmaseg.video import VideoReader
try:
    with VideoReader("-", **eval(sys.argv[1])) as reader:
        print([(frame.pts, frame.warm_up) for frame in reader], reader.repeatable)
except VideoError as error:
    print(error)
"""


def read_pipe(data, options="{}"):
    command = [sys.executable, "-c", READ, options]
    return subprocess.run(command, input=data, capture_output=True, check=True, timeout=50).stdout.decode().strip()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.ts", "{}"),
        ("in.mkv", "{'start': 1.0, 'end': 1.4, 'warm_up': 2, 'stride': 3}"),
        ("in.mkv", "{'start': 1.8, 'warm_up': 2, 'warm_up_since': int}"),
    ],
)
def test_a_pipe_is_read_as_the_file(make_video, name, options):
    path = make_video(name, pts=range(50), keyframes=12)
    with VideoReader(path, **eval(options)) as reader:
        frames = [(frame.pts, frame.warm_up) for frame in reader]
    assert read_pipe(path.read_bytes(), options) == f"{frames} False"


def test_an_mp4_with_its_index_at_the_end_does_not_come_through_a_pipe(tmp_path):
    noise = np.random.default_rng(0)
    with av.open(tmp_path / "in.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25, width=320, height=240)
        for _ in range(5):
            image = noise.integers(0, 255, (240, 320, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    said = read_pipe((tmp_path / "in.mp4").read_bytes())
    assert said.startswith("no frame of standard input can be decoded")
    assert said.endswith("give an MP4 whose index is at its end by name")


def test_a_pipe_of_nothing_is_said():
    assert "standard input cannot be read as it comes" in read_pipe(b"")


@pytest.mark.skipif(sys.platform != "linux", reason="cameras of Linux")
@pytest.mark.parametrize("name", ["camera:91", "/dev/video91"])
def test_a_missing_camera_is_said(name):
    with pytest.raises(VideoError, match="there is no camera /dev/video91: plug it in"):
        open_source(name)


class Server:
    """Serves one file over HTTP; `behaviour(handler, data, begin)` writes the body from that byte on."""

    def __init__(self, behaviour):
        self.requests = []
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
                server.requests.append(begin)
                with contextlib.suppress(OSError):
                    behaviour(server, self, begin)
                self.close_connection = True

            def log_message(self, *arguments):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/in.bin"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve():
    servers = []

    def start(behaviour):
        servers.append(Server(behaviour))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def send(handler, data, begin, upto=None):
    """The head of an answer that promises the whole, and its body up to a byte."""
    handler.send_response(206 if begin else 200)
    handler.send_header("Accept-Ranges", "bytes")
    handler.send_header("Content-Length", str(len(data) - begin))
    handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(data[begin:upto])
    handler.wfile.flush()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """200 numbered frames, more bytes than any buffer on the way holds."""
    path = tmp_path_factory.mktemp("video") / "in.ts"
    return write_video(path, pts=range(200), size=(320, 240), keyframes=10, codec="mpeg2video")


@pytest.mark.parametrize("options", [{}, {"start": 4.0, "warm_up": 2, "end": 5.0}], ids=str)
def test_an_address_is_read_as_the_file(serve, video, options):
    data = video.read_bytes()
    server = serve(lambda _, handler, begin: send(handler, data, begin))
    with VideoReader(video, **options) as reader:
        frames = [(frame.pts, frame.warm_up) for frame in reader]
    with VideoReader(server.url, **options) as reader:
        assert [(frame.pts, frame.warm_up) for frame in reader] == frames
        assert (reader.damaged, reader.warnings, reader.repeatable) == (0, [], True)


def test_a_transfer_that_breaks_off_goes_on_at_that_byte(serve, video):
    data = video.read_bytes()
    half = len(data) // 2

    def break_off_once(server, handler, begin):
        send(handler, data, begin, half if len(server.requests) == 1 else None)

    server = serve(break_off_once)
    with VideoReader(server.url) as reader:
        frames = list(reader)
    assert [number_of(frame.image) for frame in frames] == list(range(200))
    assert not any(frame.after_gap for frame in frames)
    assert len(server.requests) > 1


@pytest.mark.parametrize("sent", [0, 0.5])
def test_a_server_that_stalls_is_not_waited_for(serve, video, sent):
    data = video.read_bytes()

    def stall(server, handler, begin):
        send(handler, data, begin, int(sent * len(data)))
        server.released.wait(30)

    began = time.monotonic()
    with pytest.raises(VideoError, match=r"no answer in time"), VideoReader(serve(stall).url, timeout=(1, 1)) as reader:
        list(reader)
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:9/in.mp4", "Connection refused"),
        ("rtsp://user:secret@127.0.0.1:9/in", "Connection refused"),
        ("nonsense://x", "Protocol not found"),
    ],
)
def test_what_does_not_answer_is_said(address, says):
    with pytest.raises(VideoError, match=says) as caught:
        VideoReader(address, timeout=(2, 2))
    assert "secret" not in str(caught.value)


def test_an_address_that_is_missing_or_no_video_is_said(serve):
    with pytest.raises(VideoError, match="404"):
        VideoReader(serve(lambda _, handler, begin: handler.send_error(404)).url)
    with pytest.raises(VideoError, match="is not a video: check the address"):
        VideoReader(serve(lambda _, handler, begin: send(handler, b"<html>" * 5000, begin)).url)


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(decoder_module, "PAUSES", (0.1, 0.2))


def broadcast(data, pieces, stall=True):
    """A live stream: each connection gets a part of the data, at its own pace, then silence."""

    def behave(server, handler, begin):
        turn = len(server.requests) - 1
        if turn >= len(pieces):
            handler.send_error(503)
            return
        first, last = pieces[turn]
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(data[first:last])
        handler.wfile.flush()
        if stall:
            server.released.wait(30)

    return behave


def test_a_live_connection_is_opened_anew_and_the_time_goes_on(serve, video, hasty):
    data = video.read_bytes()
    server = serve(broadcast(data, [(0, len(data) // 2), (0, len(data) // 4)]))
    with Decoder(server.url, live=True, timeout=(2, 1)) as decoder:
        frames = list(decoder)
    opened, lost = decoder.warnings
    assert "was lost and opened anew: frames between are missing" in opened
    assert "was lost for good" in lost
    assert len(frames) > 140
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    assert decoder.repaired == 0
    before, after = max(itertools.pairwise(frames), key=lambda pair: pair[1].pts - pair[0].pts)
    assert after.after_gap
    assert 0.9 <= (after.pts - before.pts) * decoder.time_base < 5  # at least what was waited for the next packet


class SlowCamera:
    """A container that has no picture yet when asked."""

    def __init__(self, container, empty):
        self._container, self._empty = container, empty

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self, stream):
        if self._empty:
            self._empty -= 1
            raise av.BlockingIOError(11, "Resource temporarily unavailable")
        return self._container.demux(stream)


def test_a_camera_without_a_picture_yet_is_asked_again(make_video):
    with Decoder(make_video()) as decoder:
        decoder.container = SlowCamera(decoder.container, 20)
        assert len(list(decoder)) == 10
        assert decoder.damaged == 0
    with Decoder(make_video(), timeout=(1, 0.1)) as decoder:
        decoder.container = SlowCamera(decoder.container, 10_000)
        assert list(decoder) == []


def test_a_lost_connection_ends_a_strict_run(serve, video, hasty):
    data = video.read_bytes()
    server = serve(broadcast(data, [(0, len(data) // 2)]))
    with (
        pytest.raises(VideoError, match="was lost"),
        VideoReader(server.url, live=True, strict=True, timeout=(2, 1)) as reader,
    ):
        list(reader)


@pytest.fixture
def rtsp():
    servers = []

    def start(*arguments, **options):
        servers.append(RtspServer(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("live", [False, True])
def test_a_stream_whose_server_leaves_is_opened_anew(rtsp, video, hasty, live):
    server = rtsp(video.read_bytes())
    with VideoReader(server.url, live=live, timeout=(5, 2)) as reader:
        frames = list(itertools.islice(reader, 450 if not live else 3))
        if live:
            while server.plays < 3:
                time.sleep(0.01)
            frames += itertools.islice(reader, 2)
        assert ["was lost and opened anew" in line for line in reader.warnings] == [True]
        assert (reader.damaged, reader.repaired, reader.repeatable) == (0, 0, False)
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    if not live:
        numbers = [number_of(frame.image) for frame in frames]
        second = numbers.index(0, 1)
        assert numbers[:second] == list(range(second))
        assert second >= 198  # the last one may be in flight when the connection ends
        assert frames[second].after_gap


def test_a_stream_that_ends_for_good_is_said(rtsp, video, hasty):
    server = rtsp(video.read_bytes(), after=lambda server, connection: server.close())
    with VideoReader(server.url, timeout=(5, 2)) as reader:
        assert len(list(reader)) >= 198
        assert "lost for good (the other side ended it)" in reader.warnings[-1]


def test_a_stream_that_falls_silent_is_given_its_time(rtsp, video, monkeypatch):
    """And then, when asked to stop meanwhile, not opened anew."""
    monkeypatch.setattr(decoder_module, "PAUSES", (60,))
    server = rtsp(video.read_bytes(), after=lambda server, connection: server.released.wait(50))
    with VideoReader(server.url, timeout=(5, 1)) as reader:
        threading.Timer(2, reader.stop).start()
        began = time.monotonic()
        assert len(list(reader)) >= 198
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("protocol", ["http", "rtsp", "rtmp", "tcp"])
def test_a_server_that_accepts_and_never_answers(protocol):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(VideoError, match=r"cannot be opened \(no answer in time\): check the address"):
            VideoReader(f"{protocol}://127.0.0.1:{silent.getsockname()[1]}/x", timeout=(1, 1))
        assert time.monotonic() - began < 8


def test_live_frames_not_taken_in_time_are_dropped(make_video):
    path = make_video(pts=range(200), keyframes=10)
    with VideoReader(path, live=True) as reader:
        frames = iter(reader)
        first = next(frames)
        time.sleep(0.5)  # time enough to decode all the others
        rest = list(frames)
        assert number_of(first.image) == 0
        assert [number_of(frame.image) for frame in rest] == [199]
        assert reader.dropped == 198
        assert rest[0].name == "000001"


def test_a_dropped_gap_is_not_forgotten(make_video, tmp_path):
    joined = tmp_path / "joined.ts"
    joined.write_bytes(make_video("a.ts").read_bytes() + make_video("b.ts", size=(128, 96)).read_bytes())
    with VideoReader(joined, live=True) as reader:
        time.sleep(0.5)
        *_, last = list(reader)
    assert last.after_gap


def test_errors_reach_whoever_takes_the_newest():
    def fail():
        yield 1
        raise VideoError("broken: mend it")

    newest = Newest(fail(), lambda dropped, successor: successor)
    with pytest.raises(VideoError, match="broken"):
        list(newest)
    assert newest.close(1)


@pytest.mark.parametrize("frames", [0, 3])
def test_leaving_a_stalled_live_source_early_ends(serve, video, frames):
    data = video.read_bytes()
    began = time.monotonic()
    with VideoReader(serve(broadcast(data, [(0, len(data) // 2)])).url, live=True, timeout=(1, 1)) as reader:
        list(itertools.islice(reader, frames))
    assert time.monotonic() - began < 8


def test_a_closed_port_during_the_stream_ends_it(hasty, video):
    """A server that vanishes for good: what came before is kept, and the loss is said."""
    data = video.read_bytes()
    listener = socket.create_server(("127.0.0.1", 0))

    def once():
        connection, _ = listener.accept()
        listener.close()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(data)) + data)
        connection.close()

    thread = threading.Thread(target=once)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/in.ts"
    with VideoReader(url, live=True, timeout=(3, 1)) as reader:
        frames = list(reader)
        assert any("lost for good" in line for line in reader.warnings)
    thread.join()
    assert reader.dropped + len(frames) >= 195
