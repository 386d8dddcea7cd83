from shmq.wire.codes import RequestCode, ResponseCode


def test_no_code_has_two_names():
    for kind in (RequestCode, ResponseCode):
        assert len(kind.__members__) == len(set(kind))


def test_only_pop_codes_need_more_than_16_bits_and_what_is_left_of_them_is_free():
    wide = [code for code in RequestCode if code > 0x7FFF]
    assert min(wide) == 200050
    assert {code & 0xFFFF for code in wide} == {*range(3442, 3449), 3543}
    assert not {code & 0xFFFF for code in wide} & set(RequestCode)
