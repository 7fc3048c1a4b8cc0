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
