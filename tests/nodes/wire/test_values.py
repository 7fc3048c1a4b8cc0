"""Numbers against the registries as the RFCs and IANA have them."""

from __future__ import annotations

from nodes.wire import values as v


def test_handoff_indicator_values_rfc5213_8_4_and_rfc7864_7() -> None:
    assert [hint.value for hint in v.HandoffHint] == list(range(7))
    assert v.HandoffHint.HANDOFF_STATE_UNKNOWN == 4
    assert v.HandoffHint.NEW_INTERFACE_SHARING_PREFIXES == 6


def test_access_technologies_rfc5213_8_5() -> None:
    assert [technology.value for technology in v.AccessTechnology] == list(range(14))
    assert v.AccessTechnology.IEEE_802_11 == 4


def test_proxy_binding_status_values_rfc5213_8_9() -> None:
    assert v.ProxyBindingStatus.PROXY_REG_NOT_ENABLED == 152
    assert v.ProxyBindingStatus.TIMESTAMP_MISMATCH == 156
    assert v.ProxyBindingStatus.MISSING_ACCESS_TECH_TYPE_OPTION == 162


def test_update_notification_values_rfc7077_4_and_rfc7864_4() -> None:
    assert v.UpdateNotificationReason.FLOW_MOBILITY == 8
    assert v.UpdateNotificationStatus.REASON_UNSPECIFIED == 131
    assert v.UpdateNotificationStatus.MN_NOT_ATTACHED == 132


def test_revocation_values_rfc5846_5() -> None:
    assert v.RevocationTrigger.PER_PEER_POLICY == 128
    assert v.RevocationStatus.REVOCATION_FAILED_MN_IS_ATTACHED == 132


def test_flow_values_rfc6089_4_2_and_rfc7109_6_2_1() -> None:
    assert [status.value for status in v.FlowStatus] == [0, *range(128, 134)]
    assert [action.value for action in v.FlowBindingAction] == list(range(11, 17))
