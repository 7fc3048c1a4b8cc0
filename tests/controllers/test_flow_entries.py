from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest

from controllers.flow_entries import flow_mod, flow_stats_request, rule_of
from controllers.openflow import Match, Output, Rule
from controllers.rules import base_rules, flow_rules, prefix_rules, redirect_rules
from nodes.northbound import Flow, FlowPath, PrefixPath
from tests.controllers.fabrics import HOME, MAG1, MAG2, MAG3, reference_fabric

NO_BUFFER = 0xFFFF_FFFF


@pytest.fixture(params=["os_ken", "ryu"], scope="module")
def datapath(request):
    pytest.importorskip(request.param)
    return SimpleNamespace(
        ofproto=importlib.import_module(f"{request.param}.ofproto.ofproto_v1_3"),
        ofproto_parser=importlib.import_module(f"{request.param}.ofproto.ofproto_v1_3_parser"),
    )


def all_rules():
    fabric = reference_fabric()
    flow = Flow(
        key=65536,
        mn="mn1",
        fid=1,
        priority=10,
        selector={
            "start_source_address": "2001:db8:c::1",
            "start_flow_label": 3,
            "end_flow_label": 9,
            "start_source_port": 1000,
            "end_source_port": 1999,
            "start_traffic_class": 4,
            "end_traffic_class": 9,
        },
        prefixes=(HOME,),
        label=7,
    )
    groups = (
        base_rules(fabric),
        prefix_rules(fabric, PrefixPath(prefix=HOME, mag=MAG1)),
        prefix_rules(fabric, PrefixPath(prefix=HOME)),
        flow_rules(fabric, flow, (MAG1, MAG2)),
        redirect_rules(fabric, flow, FlowPath(key=65536, mags=(MAG1, MAG2, MAG3), anchor=MAG1)),
    )
    return [rule for group in groups for rules in group.values() for rule in rules]


def sent(datapath, rule, command):
    """What a switch reads, the way that the framework reads it."""
    message = flow_mod(datapath, rule, command)
    message.set_xid(1)
    message.serialize()
    octets = bytes(message.buf)
    version, kind, length, xid = octets[0], octets[1], len(octets), 1
    return type(message).parser(datapath, version, kind, length, xid, octets)


def test_rules_are_read_back_as_they_were_sent(datapath):
    rules = all_rules()
    assert len(rules) > 100
    for rule in rules:
        assert rule_of(sent(datapath, rule, datapath.ofproto.OFPFC_ADD)) == rule


def test_deletion_is_not_restricted_to_a_port_or_group(datapath):
    """OpenFlow 1.3.5 section 6.4: out_port and out_group filter what is deleted."""
    command = datapath.ofproto.OFPFC_DELETE_STRICT
    message = sent(datapath, all_rules()[0], command)
    assert message.command == command
    assert (message.out_port, message.out_group) == (0xFFFF_FFFF, 0xFFFF_FFFF)
    assert message.buffer_id == NO_BUFFER


def test_request_is_for_the_rules_with_our_cookie_in_all_tables(datapath):
    message = flow_stats_request(datapath)
    assert (message.cookie, message.cookie_mask) == (0xF10B << 48, 0xFFFF << 48)
    assert (message.table_id, message.out_port, message.out_group) == (
        0xFF,
        0xFFFF_FFFF,
        0xFFFF_FFFF,
    )


def test_what_is_not_ours_is_refused(datapath):
    rule = Rule(1, 2, Match(), (Output(1),), 3)
    parser = datapath.ofproto_parser
    entry = flow_mod(datapath, rule, 0)
    entry.instructions[0].actions.append(parser.OFPActionPopVlan())
    with pytest.raises(ValueError, match="OFPActionPopVlan is no action of ours"):
        rule_of(entry)
    entry = flow_mod(datapath, rule, 0)
    entry.instructions.append(parser.OFPInstructionWriteMetadata(1, 1))
    with pytest.raises(ValueError, match="OFPInstructionWriteMetadata is no instruction of ours"):
        rule_of(entry)
