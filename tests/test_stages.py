import threading

import pytest

from lmaseg.stages import QUEUE_LENGTH, Channel, Stages


def finish(stages):
    for _ in stages.join():
        pass


@pytest.mark.timeout(20)
def test_items_pass_in_order_and_the_queue_is_bounded():
    stages = Stages()
    channel: Channel[int] = stages.channel()
    received, ahead = [], []

    def produce():
        for i in range(50):
            channel.put(i)
            ahead.append(i + 1 - len(received))
        channel.close()

    def consume():
        for item in channel:
            received.append(item)

    stages.start("produce", produce)
    stages.start("consume", consume)
    finish(stages)
    assert received == list(range(50))
    assert max(ahead) <= QUEUE_LENGTH + 2


@pytest.mark.timeout(20)
@pytest.mark.parametrize("failing", ["first", "middle", "last"])
def test_an_error_in_any_stage_ends_all_and_is_the_one_reported(failing):
    stages = Stages()
    one, two = stages.channel(), stages.channel()

    def fail_at(stage, item):
        if stage == failing and item == 20:
            raise OSError(f"broken {stage}")

    def first():
        for i in range(1000):
            fail_at("first", i)
            one.put(i)
        one.close()

    def middle():
        for item in one:
            fail_at("middle", item)
            two.put(item)
        two.close()

    def last():
        for item in two:
            fail_at("last", item)

    for stage in (first, middle, last):
        stages.start(stage.__name__, stage)
    with pytest.raises(OSError, match=f"broken {failing}"):
        finish(stages)
    assert {thread.name for thread in threading.enumerate()}.isdisjoint({"first", "middle", "last"})


@pytest.mark.timeout(20)
def test_leaving_early_ends_the_stages():
    stages = Stages()
    channel = stages.channel()

    def produce():
        while True:
            channel.put(0)

    stages.start("produce", produce)
    waiting = stages.join()
    next(waiting)
    waiting.close()
    assert "produce" not in {thread.name for thread in threading.enumerate()}
