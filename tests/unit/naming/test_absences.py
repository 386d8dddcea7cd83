from shmq.naming.absences import BROKERS_MAX, TOPICS_MAX, Absences, Cause, Departure, list_names


def test_only_so_many_topics_are_remembered_the_oldest_go_first() -> None:
    absences = Absences()
    for index in range(TOPICS_MAX + 1):
        absences.note_topic(f"T{index}", Departure("b", Cause.CLOSED, index))
    assert absences.topic("T0", TOPICS_MAX) is None
    assert absences.topic("T1", TOPICS_MAX) == Departure("b", Cause.CLOSED, 1)
    assert absences.topic(f"T{TOPICS_MAX}", TOPICS_MAX) is not None


def test_only_so_many_brokers_are_remembered() -> None:
    absences = Absences()
    for index in range(2 * BROKERS_MAX):
        absences.note_broker(Departure(f"b{index}", Cause.SILENT, index))
    assert len(absences._brokers) == BROKERS_MAX
    assert absences.last_broker(0) == Departure(f"b{2 * BROKERS_MAX - 1}", Cause.SILENT, 2 * BROKERS_MAX - 1)


def test_the_last_departure_of_a_topic_counts() -> None:
    absences = Absences()
    absences.note_topic("T", Departure("a", Cause.SILENT, 1))
    absences.note_topic("T", Departure("b", Cause.DELETED, 2))
    assert absences.topic("T", 2) == Departure("b", Cause.DELETED, 2)


def test_names_are_listed_in_order_and_not_all_of_them() -> None:
    assert list_names(["c", "a", "b"]) == "a, b, c"
    assert list_names(map(str, range(8))) == "0, 1, 2, 3, 4 and 3 more"
