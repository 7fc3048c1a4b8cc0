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
