"""Messages as a jail gets them."""

from hypothesis import given
from hypothesis import strategies as st

from shmq.sandbox.frames import Parts, join_messages, split_messages


@given(st.lists(st.builds(Parts, st.binary(), st.binary(), st.binary())))
def test_messages_arrive_as_they_were_joined(messages):
    assert split_messages(join_messages(messages)) == messages
