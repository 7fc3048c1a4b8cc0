from __future__ import annotations

import io
from ipaddress import IPv6Address
from typing import Any

import pytest

from experiments.analysis.moves import MoveRecord, plan
from experiments.analysis.signalling import (
    AttachmentFrame,
    ControlMessage,
    MoveSignalling,
    Signalling,
    read_signalling,
    signalling_of,
)
from experiments.captures.pcapng import PcapngWriter
from nodes.ipsec.esp import EspKeys
from nodes.ipsec.security_associations import SecurityAssociation
from nodes.wire.attachment import AttachmentAnswer, AttachmentRequest, encode_attachment
from nodes.wire.options import MobileNodeIdentifier
from tests.experiments.synthetic import (
    INTERFACES,
    LMA,
    LMA_CORE,
    MN_CELL,
    PROXY_COA,
    START_NS,
    ethernet,
    ipv6,
    mobility_message,
    run_spec,
)
from tests.sealing import seal

MAG1, MAG2 = (IPv6Address(PROXY_COA[access]) for access in ("wlan", "cell"))
SPEC = run_spec(
    protocol={"prefix_model": "unique", "attachment": "layer-2"},
    attachments=[
        {"access": "wlan", "at_s": 1.0},
        {"access": "cell", "at_s": 2.0, "dynamic": True},
    ],
    flows={"a": {"kind": "udp", "anchor": "wlan", "start": "wlan", "port": 5001}},
    moves=[{"flow": "a", "to": "cell", "at_s": 12.0}],
)
END = 2_000_000
MN = (MobileNodeIdentifier.of("mn1@flowmob.example"),)


def link_frame(message: Any) -> bytes:
    return bytes(12) + b"\x88\xb5" + encode_attachment(message)


def read(*packets: tuple[int, float, bool, bytes], keys: EspKeys | None = None) -> Signalling:
    """Packets are interface, ms of the run, whether it is outbound, frame."""
    file = io.BytesIO()
    writer = PcapngWriter(file, INTERFACES, 0)
    for interface, at_ms, outbound, data in packets:
        writer.packet(interface, START_NS + round(at_ms * 1e6), data, len(data), outbound)
    return read_signalling(file.getvalue(), START_NS, keys=keys)


def test_protected_messages_are_those_of_their_keys_with_the_length_that_they_had() -> None:
    message = mobility_message(19, 513, 64)
    sa = SecurityAssociation(IPv6Address(LMA), MAG2, 256, bytes(36))
    sealed = seal(sa, message, 135, 1)
    frame = ethernet(ipv6(50, LMA, PROXY_COA["cell"], sealed))
    changed = frame[:-1] + bytes([frame[-1] ^ 1])
    packets = [(LMA_CORE, 12_003.0, True, frame), (LMA_CORE, 12_004.0, True, changed)]
    (found,) = read(*packets, keys=EspKeys([sa])).control
    assert found[1:] == (19, 513, 40 + len(sealed), True, MAG2)
    assert read(*packets).control == []
    plain = ethernet(ipv6(135, LMA, PROXY_COA["cell"], message))
    assert len(read((LMA_CORE, 1.0, True, plain), keys=EspKeys([sa])).control) == 1


def test_messages_keep_length_sequence_and_peer_in_order_of_time() -> None:
    notification = ethernet(ipv6(135, LMA, PROXY_COA["cell"], mobility_message(19, 513, 64)))
    update = ethernet(ipv6(135, PROXY_COA["wlan"], LMA, mobility_message(5, 513, 64)))
    # The sequence number stands where an IPv6 packet has its next header: 135 there says nothing.
    request = link_frame(AttachmentRequest(135 << 8, MN * 2))
    answer = link_frame(AttachmentAnswer(135 << 8, 0, MN * 2))
    assert len(request) >= 14 + 40 + 8
    found = read(
        (LMA_CORE, 12_003, True, notification),
        (LMA_CORE, 1_000, False, update),
        (MN_CELL, 2_050, False, answer),
        (MN_CELL, 2_000, True, request),
        (MN_CELL, 2_100, True, request[:20]),
        (MN_CELL, 2_200, True, request[:14] + b"\0" + request[15:]),
        (LMA_CORE, 2_300, True, ethernet(ipv6(17, LMA, LMA, bytes(64)))),
    )
    assert found.control == [
        ControlMessage(100_000, 5, -1, 104, False, MAG1),
        ControlMessage(1_200_300, 19, 513, 104, True, MAG2),
    ]
    size = len(request) - 14
    assert found.attachments == [
        AttachmentFrame(200_000, 1, size, "mn-cell"),
        AttachmentFrame(205_000, 2, size, "mn-cell"),
    ]


def record(attaches: bool) -> MoveRecord:
    (found,) = plan(SPEC, (12.0,))
    found.decision, found.attaches = 1_200_001, attaches
    found.sequences = {7}
    return found


def message(tick: int, kind: int, sequence: int = -1, peer: IPv6Address = MAG2) -> ControlMessage:
    return ControlMessage(tick, kind, sequence, 100 + kind, False, peer)


def frame(tick: int, kind: int, interface: str = "mn-cell") -> AttachmentFrame:
    return AttachmentFrame(tick, kind, 60 + kind, interface)


def test_an_attachment_is_counted_from_the_order_to_the_answer() -> None:
    signalling = Signalling(
        [
            message(1_199_000, 5),  # of an attachment before
            message(1_203_500, 5),
            message(1_203_500, 6),
            message(1_203_600, 5, peer=MAG1),  # of the other access
            message(1_203_700, 19, 7),
            message(1_207_200, 5),  # an extension later on
        ],
        [
            frame(1_150_000, 1),
            frame(1_200_000, 1, "mn-wlan"),
            frame(1_200_000, 1),
            frame(1_207_000, 2),
            frame(1_300_000, 1),
        ],
    )
    caused = signalling_of(record(attaches=True), SPEC, signalling, END)
    assert caused.columns() == {
        "signalling_messages": 2,
        "signalling_bytes": 105 + 106,
        "access_signalling_messages": 2,
        "access_signalling_bytes": 61 + 62,
    }
    assert (caused.control_bytes(5, 0), caused.control_bytes(7, 9)) == (105, 9)
    assert caused.request_bytes(0) == 61


def test_an_attachment_that_is_not_answered_is_counted_to_the_end() -> None:
    frames = [frame(1_200_000, 1), frame(1_300_000, 1), frame(END + 1, 1)]
    caused = signalling_of(record(attaches=True), SPEC, Signalling([], frames), END)
    assert caused.attachments == frames[:2]


def test_other_moves_count_their_update_notifications() -> None:
    control = [
        message(1_100_000, 19, 7),
        message(1_200_001, 19, 7),
        message(1_200_001, 19, 8),
        message(1_200_001, 5),
        message(1_202_000, 20, 7),
    ]
    signalling = Signalling(control, [frame(1_200_000, 1)])
    caused = signalling_of(record(attaches=False), SPEC, signalling, END)
    assert caused == MoveSignalling([control[1], control[4]], [])


@pytest.mark.parametrize("kind", [1, 5])
def test_without_messages_a_length_is_the_declared_one(kind: int) -> None:
    empty = MoveSignalling([], [])
    assert empty.control_bytes(kind, 77) == empty.request_bytes(77) == 77
