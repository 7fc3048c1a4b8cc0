-- Made from the layouts in nodes/wire. To make it anew: .venv/bin/flowmob wireshark > docs/wireshark/flowmob.lua
-- Flow mobility in Proxy Mobile IPv6: a tree with every field of the Mobility Headers that the
-- tables below describe, beside the one of Wireshark's own Mobile IPv6 dissector. Filters are named
-- flowmob.FORMAT.FIELD, where FIELD is the key that `flowmob decode` prints.
-- Wireshark 4.0 and newer; Lua 5.1 to 5.4, so no bit library.

local ATTACHMENT_ETHERTYPE, ATTACHMENT_FORMAT = 34997, 161
local VALUES = {
  AccessTechnology = {[0] = "RESERVED", [1] = "VIRTUAL", [2] = "PPP", [3] = "IEEE_802_3", [4] = "IEEE_802_11", [5] = "IEEE_802_16E", [6] = "GERAN", [7] = "UTRAN", [8] = "EUTRAN", [9] = "EHRPD", [10] = "HRPD", [11] = "ONE_X_RTT", [12] = "UMB", [13] = "NB_IOT"},
  AttachmentType = {[1] = "ATTACHMENT_REQUEST", [2] = "ATTACHMENT_ANSWER"},
  BindingErrorStatus = {[1] = "UNKNOWN_BINDING", [2] = "UNRECOGNIZED_MH_TYPE"},
  FlowBindingAction = {[11] = "ADD", [12] = "DELETE", [13] = "MODIFY", [14] = "REFRESH", [15] = "MOVE", [16] = "REVOKE"},
  FlowStatus = {[0] = "SUCCESSFUL", [128] = "ADMINISTRATIVELY_PROHIBITED", [129] = "REASON_UNSPECIFIED", [130] = "MALFORMED", [131] = "BID_NOT_FOUND", [132] = "FID_NOT_FOUND", [133] = "TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED"},
  HandoffHint = {[0] = "RESERVED", [1] = "NEW_INTERFACE", [2] = "HANDOFF_BETWEEN_INTERFACES", [3] = "HANDOFF_BETWEEN_MAGS", [4] = "HANDOFF_STATE_UNKNOWN", [5] = "HANDOFF_STATE_NOT_CHANGED", [6] = "NEW_INTERFACE_SHARING_PREFIXES"},
  MobileNodeGroupSubtype = {[1] = "BULK_BINDING_UPDATE_GROUP"},
  MobileNodeIdentifierSubtype = {[1] = "NAI", [2] = "IPV6_ADDRESS", [3] = "IMSI", [4] = "P_TMSI", [5] = "EUI_48", [6] = "EUI_64", [7] = "GUTI", [8] = "DUID"},
  MobilityHeaderType = {[0] = "BINDING_REFRESH_REQUEST", [1] = "HOME_TEST_INIT", [2] = "CARE_OF_TEST_INIT", [3] = "HOME_TEST", [4] = "CARE_OF_TEST", [5] = "BINDING_UPDATE", [6] = "BINDING_ACKNOWLEDGEMENT", [7] = "BINDING_ERROR", [8] = "FAST_BINDING_UPDATE", [9] = "FAST_BINDING_ACKNOWLEDGEMENT", [10] = "FAST_NEIGHBOR_ADVERTISEMENT", [11] = "EXPERIMENTAL", [12] = "HOME_AGENT_SWITCH", [13] = "HEARTBEAT", [14] = "HANDOVER_INITIATE", [15] = "HANDOVER_ACKNOWLEDGE", [16] = "BINDING_REVOCATION", [17] = "LOCALIZED_ROUTING_INITIATION", [18] = "LOCALIZED_ROUTING_ACKNOWLEDGEMENT", [19] = "UPDATE_NOTIFICATION", [20] = "UPDATE_NOTIFICATION_ACKNOWLEDGEMENT", [21] = "FLOW_BINDING", [22] = "SUBSCRIPTION_QUERY", [23] = "SUBSCRIPTION_RESPONSE"},
  ProxyBindingStatus = {[0] = "ACCEPTED", [1] = "ACCEPTED_PREFIX_DISCOVERY_NECESSARY", [4] = "MCOA_NOTCOMPLETE", [5] = "MCOA_RETURNHOME_WO_NDP", [128] = "REASON_UNSPECIFIED", [129] = "ADMINISTRATIVELY_PROHIBITED", [130] = "INSUFFICIENT_RESOURCES", [131] = "HOME_REGISTRATION_NOT_SUPPORTED", [132] = "NOT_HOME_SUBNET", [133] = "NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE", [134] = "DUPLICATE_ADDRESS_DETECTION_FAILED", [135] = "SEQUENCE_NUMBER_OUT_OF_WINDOW", [136] = "EXPIRED_HOME_NONCE_INDEX", [137] = "EXPIRED_CARE_OF_NONCE_INDEX", [138] = "EXPIRED_NONCES", [139] = "REGISTRATION_TYPE_CHANGE_DISALLOWED", [152] = "PROXY_REG_NOT_ENABLED", [153] = "NOT_LMA_FOR_THIS_MOBILE_NODE", [154] = "MAG_NOT_AUTHORIZED_FOR_PROXY_REG", [155] = "NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX", [156] = "TIMESTAMP_MISMATCH", [157] = "TIMESTAMP_LOWER_THAN_PREV_ACCEPTED", [158] = "MISSING_HOME_NETWORK_PREFIX_OPTION", [159] = "BCE_PBU_PREFIX_SET_DO_NOT_MATCH", [160] = "MISSING_MN_IDENTIFIER_OPTION", [161] = "MISSING_HANDOFF_INDICATOR_OPTION", [162] = "MISSING_ACCESS_TECH_TYPE_OPTION", [164] = "MCOA_MALFORMED", [165] = "MCOA_NON_MCOA_BINDING_EXISTS", [166] = "MCOA_PROHIBITED", [167] = "MCOA_UNKNOWN_COA", [174] = "INVALID_CARE_OF_ADDRESS", [180] = "CANNOT_SUPPORT_MULTIPATH_BINDING"},
  RevocationStatus = {[0] = "SUCCESS", [1] = "PARTIAL_SUCCESS", [128] = "BINDING_DOES_NOT_EXIST", [129] = "IPV4_HOME_ADDRESS_OPTION_REQUIRED", [130] = "GLOBAL_REVOCATION_NOT_AUTHORIZED", [131] = "REVOKED_MOBILE_NODES_IDENTITY_REQUIRED", [132] = "REVOCATION_FAILED_MN_IS_ATTACHED", [133] = "REVOCATION_TRIGGER_NOT_SUPPORTED", [134] = "REVOCATION_FUNCTION_NOT_SUPPORTED", [135] = "PROXY_BINDING_REVOCATION_NOT_SUPPORTED"},
  RevocationTrigger = {[0] = "UNSPECIFIED", [1] = "ADMINISTRATIVE_REASON", [2] = "INTER_MAG_HANDOVER_SAME_ACCESS_TYPE", [3] = "INTER_MAG_HANDOVER_DIFFERENT_ACCESS_TYPE", [4] = "INTER_MAG_HANDOVER_UNKNOWN", [5] = "USER_INITIATED_SESSION_TERMINATION", [6] = "ACCESS_NETWORK_SESSION_TERMINATION", [7] = "POSSIBLE_OUT_OF_SYNC_BCE_STATE", [128] = "PER_PEER_POLICY", [129] = "REVOKING_MOBILITY_NODE_LOCAL_POLICY"},
  UpdateNotificationReason = {[0] = "RESERVED", [1] = "FORCE_REREGISTRATION", [2] = "UPDATE_SESSION_PARAMETERS", [3] = "VENDOR_SPECIFIC_REASON", [4] = "ANI_PARAMS_REQUESTED", [5] = "QOS_SERVICE_REQUEST", [6] = "PGW_TRIGGERED_PCSCF_RESTORATION_PCO", [7] = "PGW_TRIGGERED_PCSCF_RESTORATION_DHCP", [8] = "FLOW_MOBILITY"},
  UpdateNotificationStatus = {[0] = "SUCCESS", [128] = "FAILED_TO_UPDATE_SESSION_PARAMETERS", [129] = "MISSING_VENDOR_SPECIFIC_OPTION", [130] = "CANNOT_MEET_QOS_SERVICE_REQUEST", [131] = "REASON_UNSPECIFIED", [132] = "MN_NOT_ATTACHED"},
}
local FORMATS = {
  messages = {
    {code = 5, name = "ProxyBindingUpdate", key = "proxy_binding_update", label = "Proxy Binding Update", section = "RFC 5213 section 8.1, RFC 6275 section 6.1.7", words = {
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 1, {kind = "FLAG", name = "acknowledge", label = "Acknowledge (A)", mask = 128, shift = 7}, {kind = "FLAG", name = "home_registration", label = "Home Registration (H)", mask = 64, shift = 6}, {kind = "FLAG", name = "link_local_compatibility", label = "Link-local Compatibility (L)", mask = 32, shift = 5}, {kind = "FLAG", name = "key_management", label = "Key Management (K)", mask = 16, shift = 4}, {kind = "FLAG", name = "map_registration", label = "MAP Registration (M)", mask = 8, shift = 3}, {kind = "FLAG", name = "mobile_router", label = "Mobile Router (R)", mask = 4, shift = 2}, {kind = "FLAG", name = "proxy_registration", label = "Proxy Registration (P)", mask = 2, shift = 1}, {kind = "FLAG", name = "forcing_udp", label = "Forcing UDP (F)", mask = 1, shift = 0}},
      {size = 1, {kind = "FLAG", name = "tlv_header", label = "TLV Header (T)", mask = 128, shift = 7}, {kind = "FLAG", name = "bulk_registration", label = "Bulk Registration (B)", mask = 64, shift = 6}, {kind = "FLAG", name = "s_flag", label = "S Flag (S)", mask = 32, shift = 5}, {kind = "FLAG", name = "d_flag", label = "D Flag (D)", mask = 16, shift = 4}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 15, shift = 0}},
      {size = 2, {kind = "UINT", name = "lifetime", label = "Lifetime"}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 6, name = "ProxyBindingAcknowledgement", key = "proxy_binding_acknowledgement", label = "Proxy Binding Acknowledgement", section = "RFC 5213 section 8.2, RFC 6275 section 6.1.8", words = {
      {size = 1, {kind = "UINT", name = "status", label = "Status", values = "ProxyBindingStatus"}},
      {size = 1, {kind = "FLAG", name = "key_management", label = "Key Management (K)", mask = 128, shift = 7}, {kind = "FLAG", name = "mobile_router", label = "Mobile Router (R)", mask = 64, shift = 6}, {kind = "FLAG", name = "proxy_registration", label = "Proxy Registration (P)", mask = 32, shift = 5}, {kind = "FLAG", name = "tlv_header", label = "TLV Header (T)", mask = 16, shift = 4}, {kind = "FLAG", name = "bulk_registration", label = "Bulk Registration (B)", mask = 8, shift = 3}, {kind = "FLAG", name = "s_flag", label = "S Flag (S)", mask = 4, shift = 2}, {kind = "FLAG", name = "d_flag", label = "D Flag (D)", mask = 2, shift = 1}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 1, shift = 0}},
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 2, {kind = "UINT", name = "lifetime", label = "Lifetime"}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 7, name = "BindingError", key = "binding_error", label = "Binding Error", section = "RFC 6275 section 6.1.9", words = {
      {size = 1, {kind = "UINT", name = "status", label = "Status", values = "BindingErrorStatus"}},
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 16, {kind = "IPV6", name = "home_address", label = "Home Address"}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 13, name = "Heartbeat", key = "heartbeat", label = "Heartbeat", section = "RFC 5847 section 3.3", words = {
      {size = 2, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 65532, shift = 2}, {kind = "FLAG", name = "unsolicited", label = "Unsolicited (U)", mask = 2, shift = 1}, {kind = "FLAG", name = "response", label = "Response (R)", mask = 1, shift = 0}},
      {size = 4, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 16, name = "BindingRevocationIndication", key = "binding_revocation_indication", label = "Binding Revocation Indication", section = "RFC 5846 section 5.1", constants = {{0, 1, 1}}, words = {
      {size = 1, {kind = "CONSTANT", name = "revocation_type", label = "Revocation Type"}},
      {size = 1, {kind = "UINT", name = "trigger", label = "Trigger", values = "RevocationTrigger"}},
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 2, {kind = "FLAG", name = "proxy_binding", label = "Proxy Binding (P)", mask = 32768, shift = 15}, {kind = "FLAG", name = "ipv4_only", label = "IPv4 Only (V)", mask = 16384, shift = 14}, {kind = "FLAG", name = "global_revocation", label = "Global Revocation (G)", mask = 8192, shift = 13}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 8191, shift = 0}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 16, name = "BindingRevocationAcknowledgement", key = "binding_revocation_acknowledgement", label = "Binding Revocation Acknowledgement", section = "RFC 5846 section 5.2", constants = {{0, 1, 2}}, words = {
      {size = 1, {kind = "CONSTANT", name = "revocation_type", label = "Revocation Type"}},
      {size = 1, {kind = "UINT", name = "status", label = "Status", values = "RevocationStatus"}},
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 2, {kind = "FLAG", name = "proxy_binding", label = "Proxy Binding (P)", mask = 32768, shift = 15}, {kind = "FLAG", name = "ipv4_only", label = "IPv4 Only (V)", mask = 16384, shift = 14}, {kind = "FLAG", name = "global_revocation", label = "Global Revocation (G)", mask = 8192, shift = 13}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 8191, shift = 0}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 19, name = "UpdateNotification", key = "update_notification", label = "Update Notification", section = "RFC 7077 section 4.1", words = {
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 2, {kind = "UINT", name = "reason", label = "Reason", values = "UpdateNotificationReason"}},
      {size = 2, {kind = "FLAG", name = "acknowledge", label = "Acknowledge (A)", mask = 32768, shift = 15}, {kind = "FLAG", name = "retransmit", label = "Retransmit (D)", mask = 16384, shift = 14}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 16383, shift = 0}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 20, name = "UpdateNotificationAcknowledgement", key = "update_notification_acknowledgement", label = "Update Notification Acknowledgement", section = "RFC 7077 section 4.2", words = {
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 1, {kind = "UINT", name = "status", label = "Status", values = "UpdateNotificationStatus"}},
      {size = 3, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
  },
  attachments = {
    {code = 1, name = "AttachmentRequest", key = "attachment_request", label = "Attachment Request", section = "docs/layer-2-signalling.md", words = {
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 2, {kind = "FLAG", name = "detach", label = "Detach (D)", mask = 32768, shift = 15}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 32767, shift = 0}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
    {code = 2, name = "AttachmentAnswer", key = "attachment_answer", label = "Attachment Answer", section = "docs/layer-2-signalling.md", words = {
      {size = 2, {kind = "UINT", name = "sequence", label = "Sequence"}},
      {size = 1, {kind = "FLAG", name = "detach", label = "Detach (D)", mask = 128, shift = 7}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 127, shift = 0}},
      {size = 1, {kind = "UINT", name = "status", label = "Status", values = "ProxyBindingStatus"}},
      {size = 0, {kind = "OPTIONS", name = "options", label = "Options"}},
    }},
  },
  options = {
    {code = 3, name = "AlternateCareOfAddress", key = "alternate_care_of_address", label = "Alternate Care-of Address", section = "RFC 6275 section 6.2.5", words = {
      {size = 16, {kind = "IPV6", name = "address", label = "Address"}},
    }},
    {code = 8, name = "MobileNodeIdentifier", key = "mobile_node_identifier", label = "Mobile Node Identifier", section = "RFC 4283 section 3", words = {
      {size = 1, {kind = "UINT", name = "subtype", label = "Subtype", values = "MobileNodeIdentifierSubtype"}},
      {size = 0, {kind = "TEXT", name = "identifier", label = "Identifier"}},
    }},
    {code = 19, name = "AccessLinkReport", key = "access_link_report", label = "Access Link Report", section = "RFC 5094 section 3, docs/access-link-report.md", constants = {{0, 4, 32473}, {4, 1, 1}}, words = {
      {size = 4, {kind = "CONSTANT", name = "vendor_id", label = "Vendor ID"}},
      {size = 1, {kind = "CONSTANT", name = "sub_type", label = "Sub Type"}},
      {size = 1, {kind = "UINT", name = "quality", label = "Quality"}},
      {size = 1, {kind = "UINT", name = "load", label = "Load"}},
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 2, {kind = "UINT", name = "queue_delay_ms", label = "Queue Delay (ms)"}},
    }},
    {code = 19, name = "VendorSpecific", key = "vendor_specific", label = "Vendor Specific", section = "RFC 5094 section 3", words = {
      {size = 4, {kind = "UINT", name = "vendor_id", label = "Vendor ID"}},
      {size = 1, {kind = "UINT", name = "sub_type", label = "Sub Type"}},
      {size = 0, {kind = "BYTES", name = "data", label = "Data"}},
    }},
    {code = 22, name = "HomeNetworkPrefix", key = "home_network_prefix", label = "Home Network Prefix", section = "RFC 5213 section 8.3, RFC 7864 section 4.1", words = {
      {size = 1, {kind = "FLAG", name = "off_link", label = "Off-link (L)", mask = 128, shift = 7}, {kind = "RESERVED", name = "reserved", label = "Reserved", mask = 127, shift = 0}},
      {size = 1, {kind = "UINT", name = "prefix_length", label = "Prefix Length", maximum = 128}},
      {size = 16, {kind = "IPV6", name = "address", label = "Address"}},
    }},
    {code = 23, name = "HandoffIndicator", key = "handoff_indicator", label = "Handoff Indicator", section = "RFC 5213 section 8.4", words = {
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 1, {kind = "UINT", name = "hint", label = "Hint", values = "HandoffHint"}},
    }},
    {code = 24, name = "AccessTechnologyType", key = "access_technology_type", label = "Access Technology Type", section = "RFC 5213 section 8.5", words = {
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 1, {kind = "UINT", name = "technology", label = "Technology", values = "AccessTechnology"}},
    }},
    {code = 25, name = "MobileNodeLinkLayerIdentifier", key = "mobile_node_link_layer_identifier", label = "Mobile Node Link-layer Identifier", section = "RFC 5213 section 8.6", words = {
      {size = 2, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 0, {kind = "BYTES", name = "identifier", label = "Identifier"}},
    }},
    {code = 26, name = "LinkLocalAddress", key = "link_local_address", label = "Link-local Address", section = "RFC 5213 section 8.7", words = {
      {size = 16, {kind = "IPV6", name = "address", label = "Address"}},
    }},
    {code = 27, name = "Timestamp", key = "timestamp", label = "Timestamp", section = "RFC 5213 section 8.8", words = {
      {size = 8, {kind = "TIMESTAMP", name = "value", label = "Value"}},
    }},
    {code = 28, name = "RestartCounter", key = "restart_counter", label = "Restart Counter", section = "RFC 5847 section 3.4", words = {
      {size = 4, {kind = "UINT", name = "counter", label = "Counter"}},
    }},
    {code = 35, name = "BindingIdentifier", key = "binding_identifier", label = "Binding Identifier", section = "RFC 5648 section 4.3, RFC 6089 section 4.1", words = {
      {size = 2, {kind = "UINT", name = "bid", label = "BID"}},
      {size = 1, {kind = "UINT", name = "status", label = "Status", values = "ProxyBindingStatus"}},
      {size = 1, {kind = "FLAG", name = "home_and_foreign", label = "Home And Foreign (H)", mask = 128, shift = 7}, {kind = "UINT", name = "priority", label = "Priority", mask = 127, shift = 0}},
      {size = 0, {kind = "ADDRESS", name = "care_of_address", label = "Care-of Address", sizes = {0, 4, 16}}},
    }},
    {code = 44, name = "FlowSummary", key = "flow_summary", label = "Flow Summary", section = "RFC 6089 section 4.2.2", words = {
      {size = 0, {kind = "UINT16_LIST", name = "fids", label = "FIDs"}},
    }},
    {code = 45, name = "FlowIdentification", key = "flow_identification", label = "Flow Identification", section = "RFC 6089 section 4.2", words = {
      {size = 2, {kind = "UINT", name = "fid", label = "FID", minimum = 1}},
      {size = 2, {kind = "UINT", name = "priority", label = "Priority", minimum = 1}},
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 1, {kind = "UINT", name = "status", label = "Status", values = "FlowStatus"}},
      {size = 0, {kind = "SUB_OPTIONS", name = "sub_options", label = "Sub-options"}},
    }},
    {code = 50, name = "MobileNodeGroupIdentifier", key = "mobile_node_group_identifier", label = "Mobile Node Group Identifier", section = "RFC 6602, RFC 7077 section 4.1", words = {
      {size = 1, {kind = "UINT", name = "subtype", label = "Subtype", values = "MobileNodeGroupSubtype"}},
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 4, {kind = "UINT", name = "group", label = "Group"}},
    }},
  },
  sub_options = {
    {code = 2, name = "BindingReference", key = "binding_reference", label = "Binding Reference", section = "RFC 6089 section 4.2.1.3", words = {
      {size = 0, {kind = "UINT16_LIST", name = "bids", label = "BIDs"}},
    }},
    {code = 3, name = "IPv6TrafficSelector", key = "ipv6_traffic_selector", label = "IPv6 Traffic Selector", section = "RFC 6088 section 3.2", constants = {{0, 1, 2}}, words = {
      {size = 1, {kind = "CONSTANT", name = "ts_format", label = "TS Format"}},
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 4, {kind = "PRESENCE", name = "flags", label = "Flags"}},
      {size = 16, {kind = "IPV6", name = "start_source_address", label = "Start Source Address (A)", present = 2147483648}},
      {size = 16, {kind = "IPV6", name = "end_source_address", label = "End Source Address (B)", present = 1073741824}},
      {size = 16, {kind = "IPV6", name = "start_destination_address", label = "Start Destination Address (C)", present = 536870912}},
      {size = 16, {kind = "IPV6", name = "end_destination_address", label = "End Destination Address (D)", present = 268435456}},
      {size = 4, {kind = "UINT", name = "start_spi", label = "Start SPI (E)", present = 134217728}},
      {size = 4, {kind = "UINT", name = "end_spi", label = "End SPI (F)", present = 67108864}},
      {size = 4, {kind = "UINT", name = "start_flow_label", label = "Start Flow Label (G)", mask = 1048575, shift = 0, present = 33554432}},
      {size = 4, {kind = "UINT", name = "end_flow_label", label = "End Flow Label (H)", mask = 1048575, shift = 0, present = 16777216}},
      {size = 2, {kind = "UINT", name = "start_source_port", label = "Start Source Port (I)", present = 8388608}},
      {size = 2, {kind = "UINT", name = "end_source_port", label = "End Source Port (J)", present = 4194304}},
      {size = 2, {kind = "UINT", name = "start_destination_port", label = "Start Destination Port (K)", present = 2097152}},
      {size = 2, {kind = "UINT", name = "end_destination_port", label = "End Destination Port (L)", present = 1048576}},
      {size = 1, {kind = "UINT", name = "start_traffic_class", label = "Start Traffic Class (M)", present = 524288}},
      {size = 1, {kind = "UINT", name = "end_traffic_class", label = "End Traffic Class (N)", present = 262144}},
      {size = 1, {kind = "UINT", name = "start_next_header", label = "Start Next Header (O)", present = 131072}},
      {size = 1, {kind = "UINT", name = "end_next_header", label = "End Next Header (P)", present = 65536}},
    }},
    {code = 3, name = "IPv4TrafficSelector", key = "ipv4_traffic_selector", label = "IPv4 Traffic Selector", section = "RFC 6088 section 3.1", constants = {{0, 1, 1}}, words = {
      {size = 1, {kind = "CONSTANT", name = "ts_format", label = "TS Format"}},
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 4, {kind = "PRESENCE", name = "flags", label = "Flags"}},
      {size = 4, {kind = "IPV4", name = "start_source_address", label = "Start Source Address (A)", present = 2147483648}},
      {size = 4, {kind = "IPV4", name = "end_source_address", label = "End Source Address (B)", present = 1073741824}},
      {size = 4, {kind = "IPV4", name = "start_destination_address", label = "Start Destination Address (C)", present = 536870912}},
      {size = 4, {kind = "IPV4", name = "end_destination_address", label = "End Destination Address (D)", present = 268435456}},
      {size = 4, {kind = "UINT", name = "start_spi", label = "Start SPI (E)", present = 134217728}},
      {size = 4, {kind = "UINT", name = "end_spi", label = "End SPI (F)", present = 67108864}},
      {size = 2, {kind = "UINT", name = "start_source_port", label = "Start Source Port (G)", present = 33554432}},
      {size = 2, {kind = "UINT", name = "end_source_port", label = "End Source Port (H)", present = 16777216}},
      {size = 2, {kind = "UINT", name = "start_destination_port", label = "Start Destination Port (I)", present = 8388608}},
      {size = 2, {kind = "UINT", name = "end_destination_port", label = "End Destination Port (J)", present = 4194304}},
      {size = 1, {kind = "UINT", name = "start_ds", label = "Start DS (K)", present = 2097152}},
      {size = 1, {kind = "UINT", name = "end_ds", label = "End DS (L)", present = 1048576}},
      {size = 1, {kind = "UINT", name = "start_protocol", label = "Start Protocol (M)", present = 524288}},
      {size = 1, {kind = "UINT", name = "end_protocol", label = "End Protocol (N)", present = 262144}},
    }},
    {code = 4, name = "FlowBindingActionSubOption", key = "flow_binding_action_sub_option", label = "Flow Binding Action Sub-option", section = "RFC 7109 section 6.2.1", words = {
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 1, {kind = "UINT", name = "action", label = "Action", values = "FlowBindingAction"}},
    }},
    {code = 5, name = "TargetCareOfAddress", key = "target_care_of_address", label = "Target Care-of Address", section = "RFC 7109 section 6.2.2", words = {
      {size = 2, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 0, {kind = "ADDRESS", name = "address", label = "Address", sizes = {4, 16}}},
    }},
    {code = 3, name = "UnknownTrafficSelector", key = "unknown_traffic_selector", label = "Unknown Traffic Selector", section = "RFC 6089 section 4.2.1.4", words = {
      {size = 1, {kind = "UINT", name = "ts_format", label = "TS Format"}},
      {size = 1, {kind = "RESERVED", name = "reserved", label = "Reserved"}},
      {size = 0, {kind = "BYTES", name = "data", label = "Data"}},
    }},
  },
}

-- The last MH type that Wireshark's own dissector knows: it shows those after it as unknown.
local LAST_BUILTIN_TYPE = 18
local MOBILITY_HEADER, PMIP6_PORT = 135, 5436
local FLOW_MOBILITY = 8 -- RFC 7864 section 4.2

local flowmob = Proto("flowmob", "Flow Mobility in Proxy Mobile IPv6")
local fields, experts = {}, {}

local function field(maker, key, ...)
  local made = ProtoField[maker]("flowmob." .. key, ...)
  fields[#fields + 1] = made
  return made
end

local function expert_field(key, text, group, severity)
  local made = ProtoExpert.new("flowmob." .. key, text, group, severity)
  experts[#experts + 1] = made
  return made
end

local BAD_LENGTH = expert_field("bad_length", "Length", expert.group.MALFORMED,
                                expert.severity.ERROR)
local BAD_VALUE = expert_field("bad_value", "Value out of range", expert.group.PROTOCOL,
                               expert.severity.WARN)
local BAD_CHECKSUM = expert_field("bad_checksum", "Checksum", expert.group.CHECKSUM,
                                  expert.severity.ERROR)
local NOT_ZERO = expert_field("reserved_not_zero", "Reserved bits are set; receivers ignore them",
                              expert.group.PROTOCOL, expert.severity.NOTE)
local CUT_SHORT = expert_field("cut_short", "The capture has only a part of this message",
                               expert.group.UNDECODED, expert.severity.NOTE)

local NEXT_HEADERS = {[59] = "no next header"}
local HEADER = {
  payload_proto = field("uint8", "payload_proto", "Payload Proto", base.DEC, NEXT_HEADERS),
  header_len = field("uint8", "header_len", "Header Len", base.DEC),
  mh_type = field("uint8", "mh_type", "MH Type", base.DEC, VALUES.MobilityHeaderType),
  reserved = field("uint8", "reserved", "Reserved", base.HEX),
  checksum = field("uint16", "checksum", "Checksum", base.HEX),
}
local ATTACHMENT_HEADER = {
  format = field("uint8", "attachment.format", "Format", base.HEX),
  type = field("uint8", "attachment.type", "Type", base.DEC, VALUES.AttachmentType),
  reserved = field("uint16", "attachment.reserved", "Reserved", base.HEX),
}
local FRAME_PADDING = field("bytes", "frame_padding", "Padding of the frame")
local CHECKSUM_VALID = field("bool", "checksum_valid", "Checksum valid")
local FLOW_MOBILITY_MESSAGE = field("string", "message", "Message")
local UNDECODED = field("bytes", "undecoded", "Octets that don't fit the format")

local UINTS = {"uint8", "uint16", "uint24", "uint32"}
local MAKERS = {
  TIMESTAMP = function(key, part)
    return field("absolute_time", key, part.label, base.UTC)
  end,
  IPV6 = function(key, part) return field("ipv6", key, part.label) end,
  IPV4 = function(key, part) return field("ipv4", key, part.label) end,
  BYTES = function(key, part) return field("bytes", key, part.label) end,
  TEXT = function(key, part) return field("string", key, part.label) end,
  UINT16_LIST = function(key, part) return field("uint16", key, part.label, base.DEC) end,
}

local function make_field(key, part, size)
  if MAKERS[part.kind] then
    part.field = MAKERS[part.kind](key, part)
  elseif part.kind == "ADDRESS" then
    part.ipv4 = field("ipv4", key .. ".ipv4", part.label)
    part.ipv6 = field("ipv6", key .. ".ipv6", part.label)
  elseif part.kind == "FLAG" then
    part.field = field("bool", key, part.label, size * 8, nil, part.mask)
  elseif part.kind == "PRESENCE" or part.kind == "CONSTANT" then
    part.field = field(UINTS[size], key, part.label, part.kind == "PRESENCE" and base.HEX
                       or base.DEC)
  elseif part.kind == "UINT" or (part.kind == "RESERVED" and size <= 4) then
    part.field = field(UINTS[size], key, part.label, part.kind == "UINT" and base.DEC or base.HEX,
                       VALUES[part.values], part.mask)
  elseif part.kind == "RESERVED" then
    part.field = field("bytes", key, part.label)
  end
end

local function make_presence_flags(format)
  local presence
  for _, word in ipairs(format.words) do
    for _, part in ipairs(word) do
      if part.kind == "PRESENCE" then
        presence, part.flags = part, {}
      elseif part.present then
        local key = format.key .. ".present." .. part.name
        presence.flags[#presence.flags + 1] =
          field("bool", key, part.label, 32, {"present", "absent"}, part.present)
      end
    end
  end
end

-- Formats by code; several with one code differ in constants, and the last takes the rest.
local BY_CODE, TYPES, LENGTHS, UNKNOWN = {}, {}, {}, {}
for group, formats in pairs(FORMATS) do
  local names = {[0] = "Pad1", [1] = "PadN"}
  BY_CODE[group] = {}
  for _, format in ipairs(formats) do
    format.field = field("none", format.key, format.label)
    for _, word in ipairs(format.words) do
      for _, part in ipairs(word) do make_field(format.key .. "." .. part.name, part, word.size) end
    end
    make_presence_flags(format)
    local same = BY_CODE[group][format.code] or {}
    same[#same + 1] = format
    BY_CODE[group][format.code] = same
    names[format.code] = format.constants and names[format.code]
                         or format.label:gsub("^Unknown ", "")
  end
  if group:find("options") then
    local noun = group:sub(1, -2)
    TYPES[group] = field("uint8", noun .. ".type", "Type", base.DEC, names)
    LENGTHS[group] = field("uint8", noun .. ".length", "Length", base.DEC)
    UNKNOWN[group] = {
      pad1 = field("none", noun .. ".pad1", "Pad1"),
      padn = field("none", noun .. ".padn", "PadN"),
      padding = field("bytes", noun .. ".padding", "Padding"),
      item = field("none", "unknown_" .. noun, "Unknown " .. noun:gsub("_", "-")),
      data = field("bytes", "unknown_" .. noun .. ".data", "Data"),
    }
  end
end

flowmob.fields = fields
flowmob.experts = experts

local walk -- elements have elements in them
local cut_short -- whether the capture ends before the message at hand: lengths are right then

local function choose(group, code, tvb, start, stop)
  for _, format in ipairs(BY_CODE[group][code] or {}) do
    local fits = true
    for _, constant in ipairs(format.constants or {}) do
      local offset, size, value = constant[1], constant[2], constant[3]
      fits = fits and start + offset + size <= stop
             and tvb(start + offset, size):uint() == value
    end
    if fits then return format end
  end
end

local function bad_length(item, text)
  if not cut_short then item:add_proto_expert_info(BAD_LENGTH, text) end
end

local function undecoded(tree, tvb, start, stop, text)
  if start < stop then
    tree:add(UNDECODED, tvb(start, stop - start))
  end
  bad_length(tree, text)
end

local function timestamp(range)
  -- 48 bits of seconds, 16 bits of 1/65536 s (RFC 5213 section 8.8)
  local seconds = range(0, 2):uint() * 2 ^ 32 + range(2, 4):uint()
  local nanoseconds = math.floor(range(6, 2):uint() * 1000000000 / 65536)
  return NSTime.new(math.floor(seconds), nanoseconds)
end

-- Adds a field of known length; returns its text for the headline of its format.
local function add_part(tree, part, range)
  local item
  if part.kind == "TIMESTAMP" then
    local value = timestamp(range)
    tree:add(part.field, range, value)
    return tostring(value)
  elseif part.kind == "IPV6" then
    tree:add(part.field, range)
    return tostring(range:ipv6())
  elseif part.kind == "IPV4" then
    tree:add(part.field, range)
    return tostring(range:ipv4())
  end
  item = tree:add(part.field, range)
  if range:len() > 4 then return end
  local value = range:uint()
  if part.mask then
    local width = part.mask / 2 ^ part.shift + 1
    value = math.floor(value / 2 ^ part.shift) % width
  end
  value = math.floor(value)
  if part.kind == "PRESENCE" then
    for _, flag in ipairs(part.flags) do item:add(flag, range) end
    return nil, value
  elseif part.kind == "RESERVED" then
    if value ~= 0 then item:add_proto_expert_info(NOT_ZERO) end
  elseif part.kind == "FLAG" then
    return value == 1 and part.label, value
  elseif part.kind == "UINT" then
    if value < (part.minimum or 0) or value > (part.maximum or value) then
      local expected = string.format("Expected %d to %s", part.minimum or 0,
                                     part.maximum or "the largest")
      item:add_proto_expert_info(BAD_VALUE, expected)
    end
    local name = part.values and VALUES[part.values][value]
    return name or string.format("%s %d", part.label, value), value
  end
end

local function add_tail(tree, part, tvb, start, stop, headline)
  local size = stop - start
  if part.kind == "OPTIONS" then
    walk("options", tvb, start, stop, tree)
  elseif part.kind == "SUB_OPTIONS" then
    walk("sub_options", tvb, start, stop, tree)
  elseif part.kind == "ADDRESS" then
    local kind = size == 4 and "ipv4" or "ipv6"
    if size == 4 or size == 16 then
      local range = tvb(start, size)
      tree:add(part[kind], range)
      headline[#headline + 1] = tostring(range[kind](range))
    elseif size > 0 or part.sizes[1] ~= 0 then
      undecoded(tree, tvb, start, stop, "Expected an address of 4 or 16 octets")
    end
  elseif part.kind == "UINT16_LIST" then
    for position = start, stop - 2, 2 do
      tree:add(part.field, tvb(position, 2))
      headline[#headline + 1] = tostring(tvb(position, 2):uint())
    end
    if size % 2 == 1 or size == 0 then
      undecoded(tree, tvb, stop - size % 2, stop, "Expected one or more pairs of octets")
    end
  elseif size > 0 then
    local range = tvb(start, size)
    if part.kind == "TEXT" then
      tree:add_packet_field(part.field, range, ENC_UTF_8)
      headline[#headline + 1] = range:string(ENC_UTF_8)
    else
      tree:add(part.field, range)
      headline[#headline + 1] = range:bytes():tohex()
    end
  end
end

-- Adds the fields of a format from start to stop; returns their values by name.
local function add_format(tree, format, tvb, start, stop)
  local headline, values, flags, position = {}, {}, 0, start
  for _, word in ipairs(format.words) do
    local first = word[1]
    if word.size == 0 then
      add_tail(tree, first, tvb, position, stop, headline)
      position = stop
    elseif not first.present or math.floor(flags / first.present) % 2 == 1 then
      if position + word.size > stop then
        local text = string.format("%s: expected %d octets, found %d", first.label, word.size,
                                   stop - position)
        undecoded(tree, tvb, position, stop, text)
        return values, headline
      end
      for _, part in ipairs(word) do
        local text, value = add_part(tree, part, tvb(position, word.size))
        if part.kind == "PRESENCE" then flags = value end
        values[part.name] = value or true
        if text then headline[#headline + 1] = text end
      end
      position = position + word.size
      local other = first.present and first.name:gsub("^end_", "start_")
      if other and not values[other] then
        tree:add_proto_expert_info(BAD_VALUE, first.name .. " without " .. other)
      end
    end
  end
  if position < stop then
    undecoded(tree, tvb, position, stop,
              string.format("Expected %d octets, found %d", position - start, stop - start))
  end
  return values, headline
end

-- Type-length-value elements (RFC 6275 section 6.2, RFC 6089 section 4.2.1).
function walk(group, tvb, start, stop, tree)
  local unknown = UNKNOWN[group]
  while start < stop do
    local code = tvb(start, 1):uint()
    if code == 0 then
      tree:add(unknown.pad1, tvb(start, 1)):add(TYPES[group], tvb(start, 1))
      start = start + 1
    elseif start + 2 > stop then
      undecoded(tree, tvb, start, stop, "Expected a length octet")
      return
    else
      local length = tvb(start + 1, 1):uint()
      local body = start + 2
      local fits = body + length <= stop
      local limit = fits and body + length or stop
      local format = choose(group, code, tvb, body, limit)
      local made = format and format.field or code == 1 and unknown.padn or unknown.item
      local item = tree:add(made, tvb(start, limit - start))
      item:add(TYPES[group], tvb(start, 1))
      local length_item = item:add(LENGTHS[group], tvb(start + 1, 1))
      if not fits then
        local text = string.format("Expected at most %d octets, found %d", stop - body, length)
        bad_length(length_item, text)
      end
      if format then
        local _, headline = add_format(item, format, tvb, body, limit)
        if #headline > 0 then item:append_text(": " .. table.concat(headline, ", ")) end
      elseif limit > body then
        item:add(code == 1 and unknown.padding or unknown.data, tvb(body, limit - body))
      end
      if not format and code ~= 1 then item:append_text(string.format(" (type %d)", code)) end
      start = limit
    end
  end
end

-- A name that some version doesn't have is no reason not to load.
local function extractor(name)
  local known, found = pcall(Field.new, name)
  return known and found or function() end
end

local ipv6_source, ipv6_destination = extractor("ipv6.src"), extractor("ipv6.dst")
local ipv6_routing = extractor("ipv6.routing.type")
local ipv6_home_address = extractor("ipv6.opt.mipv6.home_address")

local function sum(range)
  local total = 0
  for offset = 0, range:len() - 2, 2 do total = total + range(offset, 2):uint() end
  return total
end

-- RFC 6275 section 6.1.1. In UDP over IPv4 there is none (RFC 5844 section 4.2.2.1), and with a
-- routing header or home address option the pseudo-header isn't made of the addresses that are seen.
local function check_checksum(item, tvb, stop)
  local sources, destinations = {ipv6_source()}, {ipv6_destination()}
  if #sources == 0 or #destinations == 0 or ipv6_routing() or ipv6_home_address() then
    return
  end
  local total = sum(sources[#sources].range) + sum(destinations[#destinations].range)
                + sum(tvb(0, stop)) + stop + MOBILITY_HEADER
  local valid = total % 65535 == 0
  item:add(CHECKSUM_VALID, valid):set_generated()
  if not valid then item:add_proto_expert_info(BAD_CHECKSUM, "The checksum is wrong") end
end

-- The Flow Mobility Initiates so far: an Update Notification Acknowledgement doesn't say what it
-- acknowledges.
local initiates = {}
function flowmob.init() initiates = {} end

local function message_name(format, values, pinfo)
  local function key(source, destination)
    return table.concat({tostring(source), tostring(destination), tostring(values.sequence)}, " ")
  end
  if format.name == "UpdateNotification" then
    if values.reason == FLOW_MOBILITY then
      initiates[key(pinfo.net_src, pinfo.net_dst)] = true
      return "Flow Mobility Initiate"
    end
    initiates[key(pinfo.net_src, pinfo.net_dst)] = nil
  elseif format.name == "UpdateNotificationAcknowledgement"
         and initiates[key(pinfo.net_dst, pinfo.net_src)] then
    return "Flow Mobility Acknowledgement"
  elseif format.name:sub(1, 12) == "ProxyBinding" and values.proxy_registration == 0 then
    return format.label:sub(7)
  end
  return format.label
end

local function add_header(item, tvb, stop)
  item:add(HEADER.payload_proto, tvb(0, 1))
  item:add(HEADER.header_len, tvb(1, 1))
  item:add(HEADER.mh_type, tvb(2, 1))
  item:add(HEADER.reserved, tvb(3, 1))
  local checksum = item:add(HEADER.checksum, tvb(4, 2))
  if stop == (tvb(1, 1):uint() + 1) * 8 then check_checksum(checksum, tvb, stop) end
end

-- docs/layer-2-signalling.md
local function add_attachment_header(item, tvb)
  local format = item:add(ATTACHMENT_HEADER.format, tvb(0, 1))
  if tvb(0, 1):uint() ~= ATTACHMENT_FORMAT then
    format:add_proto_expert_info(BAD_VALUE, string.format("Expected 0x%02x", ATTACHMENT_FORMAT))
  end
  item:add(HEADER.header_len, tvb(1, 1))
  item:add(ATTACHMENT_HEADER.type, tvb(2, 1))
  item:add(HEADER.reserved, tvb(3, 1))
  item:add(ATTACHMENT_HEADER.reserved, tvb(4, 2))
end

-- Adds the message at the start of tvb; returns where it ends.
local function add_message(group, tvb, pinfo, tree)
  local captured = tvb:len()
  local declared = captured > 1 and (tvb(1, 1):uint() + 1) * 8 or 8
  local stop = math.min(declared, captured)
  local item = tree:add(flowmob, tvb(0, stop))
  cut_short = stop < declared and tvb:reported_length_remaining(0) > captured
  if cut_short then
    item:add_proto_expert_info(CUT_SHORT)
  elseif stop < declared then
    bad_length(item, string.format("Expected %d octets, found %d", declared, captured))
  end
  if stop < 6 then
    item:add(UNDECODED, tvb(0, stop))
    return stop
  end
  local headers = group == "messages" and add_header or add_attachment_header
  headers(item, tvb, stop)
  local code = tvb(2, 1):uint()
  local format = choose(group, code, tvb, 6, stop)
  if not format then
    if stop > 6 then item:add(UNDECODED, tvb(6, stop - 6)) end
    item:add_proto_expert_info(BAD_VALUE, "No format of this type begins like this")
    return stop
  end
  local body = stop > 6 and tvb(6, stop - 6)
  local message = body and item:add(format.field, body) or item:add(format.field)
  local values, headline = add_format(message, format, tvb, 6, stop)
  local name = message_name(format, values, pinfo)
  item:add(FLOW_MOBILITY_MESSAGE, tvb(2, 1), name):set_generated()
  local text = table.concat(headline, ", ")
  item:append_text(", " .. name)
  if group == "attachments" or code > LAST_BUILTIN_TYPE then
    pinfo.cols.protocol = "PMIPv6"
    pinfo.cols.info = name .. (text ~= "" and ", " .. text or "")
  end
  return stop
end

local function dissector_with(builtin)
  return function(tvb, pinfo, tree)
    if tvb:len() == 0 then return 0 end
    local code = tvb:len() > 2 and tvb(2, 1):uint()
    local known = code and BY_CODE.messages[code]
    if builtin and not (known and code > LAST_BUILTIN_TYPE) then
      -- It raises an error for what it finds malformed, and says so in the tree.
      pcall(builtin.call, builtin, tvb, pinfo, tree)
    end
    if known or not builtin then add_message("messages", tvb, pinfo, tree) end
    return tvb:len()
  end
end

local headers, ports = DissectorTable.get("ip.proto"), DissectorTable.get("udp.port")
flowmob.dissector = dissector_with(headers:get_dissector(MOBILITY_HEADER))
headers:set(MOBILITY_HEADER, flowmob)
ports:add(PMIP6_PORT, flowmob)

local attachment = Proto("flowmob_attachment", "Attachment in Proxy Mobile IPv6")
function attachment.dissector(tvb, pinfo, tree)
  if tvb:len() == 0 then return 0 end
  local stop = add_message("attachments", tvb, pinfo, tree)
  if stop < tvb:len() then tree:add(FRAME_PADDING, tvb(stop, tvb:len() - stop)) end
  return tvb:len()
end
DissectorTable.get("ethertype"):add(ATTACHMENT_ETHERTYPE, attachment)
