"""A stored message as a new record, which the broker writes by itself: for another queue, or to wait again."""

from shmq.store.record import NewRecord, StoredRecord


def renewed(message: StoredRecord, topic: bytes, queue_id: int, properties: bytes) -> NewRecord:
    """Return a record with all that the message has, but for where it goes and its properties.

    It is part of no transaction. Its body is its own: the record may have to wait until the log is mapped elsewhere.
    """
    return NewRecord(
        topic=topic,
        queue_id=queue_id,
        flag=message.flag,
        sys_flag=message.sys_flag,
        born_timestamp_ms=message.born_timestamp_ms,
        born_host=message.born_host,
        store_host=message.store_host,
        reconsume_times=message.reconsume_times,
        prepared_position=0,
        body=bytes(message.body),
        properties=properties,
    )
