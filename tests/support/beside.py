"""What goes on beside a step, in threads, until it is over."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from include.connections import warehouse_connection


@contextmanager
def going_on(*acts):
    """Do each act again and again, with a connection of its own; how often, in a list that is filled at the end."""
    stop, numbers = Event(), []

    def again(act):
        number = 0
        with warehouse_connection() as connection:
            while not stop.is_set() or not number:
                number += 1
                act(connection)
        return number

    with ThreadPoolExecutor(len(acts)) as pool:
        running = [pool.submit(again, act) for act in acts]
        try:
            yield numbers
        finally:
            stop.set()
        numbers += [each.result(120) for each in running]
