"""Events: who may stop a computation, and how."""

import pytest

from superres.errors import Cancelled
from superres.events import Events
from superres.pipeline import _Silent


def test_a_process_that_helps_to_train_stops_where_the_callers_events_say_so():
    events = Events()
    silent = _Silent(events)
    silent.raise_if_cancelled()
    events.cancel()
    with pytest.raises(Cancelled):
        silent.raise_if_cancelled()
