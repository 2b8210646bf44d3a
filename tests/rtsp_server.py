"""A small RTSP server: an MPEG transport stream in RTP packets on the connection itself (RFC 2326, RFC 2250)."""

import contextlib
import socket
import struct
import threading
import time

MP2T = 33  # the RTP payload type
PACKET, GROUP = 188, 7


class RtspServer:
    """Plays `data` to every client at a pace; what follows its end, `after(server, connection)` decides.

    Attributes:
        url: where it listens.
        plays: connections that have begun to play.
        released: set when the server is closed.
    """

    def __init__(self, data, after=lambda server, connection: None, pace=0.0):
        self.plays = 0
        self.released = threading.Event()
        self._data, self._after, self._pace = data, after, pace
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/street"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.released.set()
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            while request := lines.readline().decode():
                headers = dict(line.split(": ", 1) for line in iter(lambda: lines.readline().decode().strip(), ""))
                method = request.split()[0]
                connection.sendall(self._answer(method, headers).encode())
                if method == "PLAY":
                    self.plays += 1
                    self._play(connection)
                    self._after(self, connection)
                    return

    def _answer(self, method, headers):
        answer = [f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\n"]
        body = ""
        if method == "OPTIONS":
            answer.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n")
        elif method == "DESCRIBE":
            body = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=street\r\nt=0 0\r\nm=video 0 RTP/AVP {MP2T}\r\n"
            answer.append(f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n")
        elif method == "SETUP":
            answer.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n")
        elif method == "PLAY":
            answer.append("Session: 1\r\n")
        return "".join(answer) + "\r\n" + body

    def _play(self, connection):
        for number, begin in enumerate(range(0, len(self._data), GROUP * PACKET)):
            payload = self._data[begin : begin + GROUP * PACKET]
            packet = struct.pack(">BBHII", 0x80, MP2T, number & 0xFFFF, number * 900, 7) + payload
            connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
            time.sleep(self._pace)
