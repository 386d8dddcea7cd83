import os

from shmq.client.identity import Identity


def test_message_ids_never_repeat():
    identity = Identity("127.0.0.1:9876")
    ids = {identity.next_message_id() for _ in range(70_000)}
    assert len(ids) == 70_000


def test_a_message_id_begins_with_address_and_process():
    message_id = Identity("127.0.0.1:9876").next_message_id()
    assert len(message_id) == 32
    assert message_id.startswith("7F000001" + f"{os.getpid() & 0xFFFF:04X}")


def test_a_client_id_tells_address_and_process():
    assert Identity("127.0.0.1:9876").client_id.startswith(f"127.0.0.1@{os.getpid()}#")


def test_two_clients_of_one_process_differ():
    assert Identity("127.0.0.1:9876").client_id != Identity("127.0.0.1:9876").client_id


def test_a_client_without_a_way_to_its_name_server_takes_itself_for_local():
    assert Identity("name.invalid:9876").client_id.startswith("127.0.0.1@")
