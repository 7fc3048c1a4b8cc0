-- Flow mobility in Proxy Mobile IPv6: a tree with every field of the Mobility Headers that the
-- tables below describe, beside the one of Wireshark's own Mobile IPv6 dissector. Filters are named
-- flowmob.FORMAT.FIELD, where FIELD is the key that `flowmob decode` prints.
-- Wireshark 4.0 and newer; Lua 5.1 to 5.4, so no bit library.

-- @FORMATS@

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

-- A name that some version doesn't have is no reason not to load.
local function extractor(name)
  local known, found = pcall(Field.new, name)
  return known and found or function() end
end

local ipv6_source, ipv6_destination = extractor("ipv6.src"), extractor("ipv6.dst")
local ipv6_routing = extractor("ipv6.routing.type")
local ipv6_home_address = extractor("ipv6.opt.mipv6.home_address")

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
