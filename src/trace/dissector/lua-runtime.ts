/**
 * What the generated tables are walked with: the counterpart of src/trace/decode in Lua. A test holds both against each
 * other, field by field.
 */
export const RUNTIME = `
-- The bytes of one field, whatever their order.
local function add(tree, little, key, range)
  local field = F[key]
  if little then return tree:add_le(field, range) end
  return tree:add(field, range)
end

local function number(range, little)
  if range:len() == 8 then
    local wide = little and range:le_uint64() or range:uint64()
    return wide:tonumber()
  end
  if little then return range:le_uint() end
  return range:uint()
end

local function has(flags, bit) return flags ~= nil and math.floor(flags / bit) % 2 == 1 end

-- m is the message: the buffer, where it begins and ends there, and its byte order.
local function walk_fixed(tree, m, shape, at)
  local values, whole = {}, true
  for _, field in ipairs(shape.fields) do
    local from = at + field.at
    if from + field.size > m.stop then return values, false end
    local range = m.buf(from, field.size)
    values[field.name] = number(range, m.little)
    local item = add(tree, m.little, field.key, range)
    for _, part in ipairs(field.parts or {}) do add(item, m.little, part, range) end
  end
  if at + shape.size > m.stop then whole = false end
  return values, whole
end

local function group(tree, m, key, at, stop, label)
  local item = tree:add(F[key], m.buf(at, stop - at))
  if label then item:set_text(label) end
  return item
end

local function walk_capability(tree, m, key, at, stop, index)
  local content = at + SHAPES.capability.size
  if stop < content then stop = content end
  local item = group(tree, m, key, at, stop, "capabilities[" .. index .. "]")
  local limited = {buf = m.buf, base = m.base, stop = stop, little = m.little}
  local head = walk_fixed(item, limited, SHAPES.capability, at)
  if head.version == KNOWN_VERSION and head.id == CAPABILITY_TYPE then
    walk_fixed(item, limited, SHAPES.region_type, content)
  elseif head.version == KNOWN_VERSION and head.id == CAPABILITY_SPARSE then
    local fixed, whole = walk_fixed(item, limited, SHAPES.sparse, content)
    local from, i = content + SHAPES.sparse.size, 0
    while whole and i < fixed.nrAreas and from + SHAPES.area.size <= stop do
      local area = group(item, m, key .. ".sparse_mmap.areas", from, from + SHAPES.area.size, "areas[" .. i .. "]")
      walk_fixed(area, limited, SHAPES.area, from)
      from, i = from + SHAPES.area.size, i + 1
    end
  elseif stop > content then
    item:add(F[key .. ".data"], m.buf(content, stop - content))
  end
end

local function walk_chain(tree, m, tail, values, base, start)
  if not has(values.flags, FLAG_CAPS) then return end
  local offsets, seen, next = {}, {}, values.capOffset
  while next ~= 0 and #offsets < MAX_CHAIN do
    local at = base + next
    if at < start or at + SHAPES.capability.size > m.stop or seen[at] then break end
    seen[at] = true
    offsets[#offsets + 1] = at
    next = number(m.buf(at + CAPABILITY_NEXT, 4), m.little)
  end
  for i, at in ipairs(offsets) do
    local stop = m.stop
    for _, other in ipairs(offsets) do
      if other > at and other < stop then stop = other end
    end
    walk_capability(tree, m, tail.key, at, stop, i - 1)
  end
end

local function walk_array(tree, m, tail, values, start)
  local count, form = values[tail.count], tail.forms[1]
  for i = #tail.forms, 1, -1 do
    if tail.forms[i].size * count == m.stop - start then form = tail.forms[i] end
  end
  local at, i = start, 0
  while i < count and at + form.size <= m.stop do
    walk_fixed(group(tree, m, tail.key, at, at + form.size, tail.name .. "[" .. i .. "]"), m, form, at)
    at, i = at + form.size, i + 1
  end
  return at
end

-- Returns where the body ends: what lies behind belongs to nothing declared.
local walk_body
local function walk_tail(tree, m, tail, values, base, start)
  if tail.kind == "bytes" or tail.kind == "text" then
    local stop = m.stop
    if tail.length and start + values[tail.length] < stop then stop = start + values[tail.length] end
    if stop > start then tree:add(F[tail.key], m.buf(start, stop - start)) end
    return stop
  elseif tail.kind == "array" then
    return walk_array(tree, m, tail, values, start)
  elseif tail.kind == "optional" then
    if not has(values.flags, tail.flag) then return start end
    local item = tree:add(F[tail.key], m.buf(start, m.stop - start))
    local stop = walk_body(item, m, tail.body, start)
    item:set_len(stop - start)
    return stop
  end
  walk_chain(tree, m, tail, values, base, start)
  return m.stop
end

walk_body = function(tree, m, body, at)
  local values, whole = walk_fixed(tree, m, body.fixed, at)
  if not whole then return m.stop, values end
  local start = at + body.fixed.size
  if body.tail == nil then return start, values end
  return walk_tail(tree, m, body.tail, values, at, start), values
end

local function walk_feature(tree, m, payload, reply, at)
  local stop, values = walk_body(tree, m, {fixed = payload.body.fixed}, at)
  local data
  if values.flags ~= nil and not has(values.flags, FEATURE_PROBE) then
    local feature = FEATURES[values.flags % (FEATURE_MASK + 1)]
    local method = feature and ((has(values.flags, FEATURE_GET) and feature.get)
      or (not has(values.flags, FEATURE_GET) and has(values.flags, FEATURE_SET) and feature.set))
    data = method and (reply and method.reply or not reply and method.request)
  end
  if data then return (walk_body(tree, m, data, stop)) end
  if stop < m.stop then tree:add(F[payload.data], m.buf(stop, m.stop - stop)) end
  return m.stop
end

local function walk_payload(tree, m, command, reply, at)
  local declared = MESSAGES[command]
  if declared == nil then return at end
  local payload = reply and declared.reply or declared.request
  if command == COMMAND_FEATURE then return walk_feature(tree, m, payload, reply, at) end
  local body = payload.body
  if payload.older and payload.older.size == m.stop - at then body = {fixed = payload.older} end
  return (walk_body(tree, m, body, at))
end

-- Requests that wait for their replies, by connection, sender and id; and what was found, by frame.
local waiting, replies, requests

function vfio_user.init()
  waiting, replies, requests = {}, {}, {}
end

local function pair(pinfo, tree, record, header, is_reply)
  local asker = is_reply and 1 - record.sender or record.sender
  local key = record.connection .. ":" .. asker .. ":" .. header.messageId .. ":" .. header.command
  if not pinfo.visited and record.offset == 0 then
    local queue = waiting[key] or {}
    waiting[key] = queue
    if is_reply then
      local request = table.remove(queue, 1)
      if request then
        replies[pinfo.number] = {frame = request.frame, time = pinfo.abs_ts - request.time}
        requests[request.frame] = pinfo.number
      end
    elseif not has(header.flags, HEADER_NO_REPLY) then
      queue[#queue + 1] = {frame = pinfo.number, time = pinfo.abs_ts}
    end
  end
  local reply, answered = replies[pinfo.number], requests[pinfo.number]
  if reply then
    tree:add(F["vfio_user.response_to"], reply.frame):set_generated()
    tree:add(F["vfio_user.latency"], NSTime.new(math.floor(reply.time), (reply.time % 1) * 1e9)):set_generated()
  end
  if answered then tree:add(F["vfio_user.response_in"], answered):set_generated() end
end

local function message(tree, m, record, pinfo)
  local head = tree:add(F["vfio_user.header"], m.buf(m.base, math.min(HEADER_SIZE, m.stop - m.base)))
  local header, whole = walk_fixed(head, m, SHAPES.header, m.base)
  if not whole then return "part of a header" end
  local type, failed = header.flags % (HEADER_TYPE + 1), has(header.flags, HEADER_ERROR)
  local at = m.base + HEADER_SIZE
  if type < 2 and not (type == 1 and failed) then at = walk_payload(tree, m, header.command, type == 1, at) end
  if at < m.stop then tree:add(F["vfio_user.undeclared"], m.buf(at, m.stop - at)) end
  if type < 2 then pair(pinfo, tree, record, header, type == 1) end
  local name = COMMANDS[header.command] or ("command " .. header.command)
  local kind = ({[0] = "request", [1] = failed and "error" or "reply"})[type] or ("type " .. type)
  local errno = type == 1 and failed and (": " .. (ERRNOS[header.error] or ("errno " .. header.error))) or ""
  return name .. " " .. kind .. " " .. header.messageId .. errno
end

local function walk_fds(tree, buf, count)
  for i = 0, count - 1 do
    local at = RECORD_SIZE + i * FD_SIZE
    local item = tree:add(F["vfio_user.record.fd"], buf(at, FD_SIZE))
    item:set_text("fd[" .. i .. "]")
    item:add(F["vfio_user.record.fd.kind"], buf(at + FD_KIND, 1))
    item:add(F["vfio_user.record.fd.size"], buf(at + FD_SIZE_AT, 8))
    item:add(F["vfio_user.record.fd.identity"], buf(at + FD_IDENTITY, 8))
  end
end

function vfio_user.dissector(buf, pinfo, tree)
  if buf:len() < RECORD_SIZE or buf(0, 1):uint() ~= RECORD_VERSION then return 0 end
  local root = tree:add(vfio_user, buf())
  local size, fds = buf(RECORD_HEADER_LENGTH, 2):uint(), buf(RECORD_FD_COUNT, 2):uint()
  if size > buf:len() or size ~= RECORD_SIZE + fds * FD_SIZE then return 0 end
  local head = root:add(F["vfio_user.record"], buf(0, size))
  local record = {}
  for _, field in ipairs(RECORD_FIELDS) do
    local range = buf(field.at, field.size)
    record[field.name] = range:uint()
    local item = head:add(F[field.key], range)
    for _, part in ipairs(field.parts or {}) do item:add(F[part], range) end
  end
  walk_fds(head, buf, fds)
  local m = {buf = buf, base = size, stop = buf:len(), little = has(record.flags, RECORD_LITTLE)}
  local info
  if record.kind == RECORD_MESSAGE and record.offset == 0 then
    info = message(root, m, record, pinfo)
  elseif record.kind == RECORD_MESSAGE or record.kind == RECORD_BYTES then
    info = record.kind == RECORD_BYTES and "bytes that are no message" or "continuation"
    if m.stop > m.base then root:add(F["vfio_user." .. (record.kind == RECORD_BYTES and "bytes" or "continuation")], buf(m.base)) end
  else
    info = "the " .. SENDERS[record.sender] .. "'s stream: " .. (RECORD_KINDS[record.kind] or "unknown record")
  end
  local fd_text = fds > 0 and (", " .. fds .. (fds == 1 and " fd" or " fds")) or ""
  pinfo.cols.protocol = "vfio-user"
  pinfo.cols.src = SENDERS[record.sender] .. " " .. record.connection
  pinfo.cols.dst = SENDERS[1 - record.sender] .. " " .. record.connection
  pinfo.cols.info = info .. fd_text
  root:append_text(": " .. info .. fd_text)
  return buf:len()
end

DissectorTable.get("wtap_encap"):add((wtap_encaps or wtap).USER0, vfio_user)
`;
