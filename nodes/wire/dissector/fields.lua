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
