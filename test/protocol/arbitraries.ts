import fc from 'fast-check';
import { capabilitiesObject } from '../../src/protocol/capabilities.ts';
import { bitmapSize, type RegionCapability } from '../../src/protocol/index.ts';
import type { JsonShape } from '../../src/protocol/json-field.ts';
import type { Field, FieldPlace } from '../../src/protocol/layout.ts';
import type { AnyPayload } from '../../src/protocol/payload.ts';
import type { BodyShape, TailShape } from '../../src/protocol/tail.ts';

type Value = Record<string, unknown>;
const num = (value: Value, name: string): number => Number(value[name]);
const big = (value: Value, name: string): bigint => BigInt(String(value[name]));
const list = (value: Value, name: string): readonly Value[] => {
  const member = value[name];
  return Array.isArray(member) ? member : [];
};

/** Random values of a payload, made from its declaration; `repair` makes them keep the rules between fields. */
export function randomValue(payload: AnyPayload): fc.Arbitrary<Value> {
  const repair = repairs[payload.label] ?? ((value: Value) => value);
  return bodyOf(payload.shape).map(repair);
}

function bodyOf(shape: BodyShape): fc.Arbitrary<Value> {
  const fixed = fieldsOf(shape.fixed.fields);
  const { tail } = shape;
  if (tail === null) return fixed;
  return fixed.chain((head) =>
    tailOf(tail.shape, head).map((value) => ({ ...head, ...linked(shape, value), [tail.name]: value })),
  );
}

/** The field that tells the extent of the tail, with the value that it must have. */
function linked({ fixed, tail }: BodyShape, value: unknown): Value {
  const shape = tail?.shape;
  if (shape === undefined || value === null) return {};
  const extent = value instanceof Uint8Array || Array.isArray(value) ? value.length : 0;
  if (shape.kind === 'chain') return { capOffset: extent === 0 ? 0 : fixed.size };
  const field = shape.kind === 'bytes' ? shape.length : shape.kind === 'array' ? shape.count : null;
  const wide = fixed.fields.find(({ name }) => name === field)?.field.type === 'u64';
  return field === null ? {} : { [field]: wide ? BigInt(extent) : extent };
}

function fieldsOf(places: readonly FieldPlace[]): fc.Arbitrary<Value> {
  const entries = places.flatMap(({ name, field }) =>
    field.type === 'padding' ? [] : [[name, scalarOf(field)] as const],
  );
  return fc.record(Object.fromEntries(entries));
}

function scalarOf(field: Field<number> | Field<bigint>): fc.Arbitrary<number | bigint> {
  const { only, strict, format } = field.options;
  if (only !== undefined) return fc.constant(only);
  if (strict === true && typeof format === 'object') {
    return fc
      .subarray(format.bits.map(({ value }) => value))
      .map((bits) => bits.reduce((all, bit) => all | bit, 0));
  }
  if (field.type === 'u64') return fc.oneof(fc.bigInt(0n, 1n << 20n), fc.bigInt(0n, (1n << 64n) - 1n));
  if (field.type === 'i32') return fc.integer();
  return fc.oneof(fc.nat(64), fc.nat(2 ** (field.size * 8) - 1));
}

function tailOf(shape: TailShape, head: Value): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case 'bytes':
      return fc
        .uint8Array({ maxLength: 64 })
        .map((data) => data.subarray(0, data.length - (data.length % shape.unit)));
    case 'array':
      return fc.array(fieldsOf(shape.element.fields), { maxLength: 8 });
    case 'optional':
      return (num(head, 'flags') & shape.flag) === 0 ? fc.constant(null) : bodyOf(shape.body);
    case 'chain':
      return fc.array(capability, { maxLength: 4 });
    case 'text':
      return shape.format === 'JSON'
        ? jsonReport
        : fc.option(jsonOf(capabilitiesObject.shape), { nil: null });
  }
}

const jsonReport = fc.option(fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.boolean(), fc.integer())), {
  nil: null,
});

/** Random values of a JSON declaration; every member of an object may be absent. */
function jsonOf(shape: JsonShape): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.integer({ min: shape.min, max: shape.max });
    case 'power of two':
      return fc.integer({ min: Math.log2(shape.min), max: Math.log2(shape.max) }).map((bit) => 2 ** bit);
    case 'object': {
      const members = Object.entries(shape.members).map(
        ([name, field]) => [name, jsonOf(field.shape)] as const,
      );
      return fc.record(Object.fromEntries(members), { requiredKeys: [] });
    }
  }
}

const words = fc.uint8Array({ maxLength: 32 }).map((data) => data.subarray(0, data.length & ~7));
const u32 = fc.nat(0xffff_ffff);
const capability: fc.Arbitrary<RegionCapability> = fc.oneof(
  fc.record({
    kind: fc.constant('sparse-mmap' as const),
    areas: fc.array(fc.record({ offset: fc.bigInt(0n, 4096n), size: fc.bigInt(0n, 4096n) }), {
      maxLength: 4,
    }),
  }),
  fc.record({ kind: fc.constant('type' as const), type: u32, subtype: u32 }),
  fc.record({
    kind: fc.constant('other' as const),
    id: fc.integer({ min: 3, max: 0xffff }),
    version: fc.nat(0xffff),
    data: words,
  }),
);

const PAGE = 4096n;

function report(value: Value): Value {
  const length = (num(value, 'length') % 10_000_000) + 1;
  return { iova: BigInt(num(value, 'iova') % 2 ** 40), length: BigInt(length), pageSize: PAGE };
}

function loggingStart(value: Value): Value {
  const ranges = list(value, 'ranges').map((_, i) => ({
    iova: BigInt(i) * 4n * PAGE,
    length: PAGE * BigInt((i % 4) + 1),
  }));
  return { ...value, pageSize: PAGE, ranges };
}

const argsz =
  (room: number) =>
  (value: Value): Value => ({ ...value, argsz: Math.max(room, num(value, 'argsz')) });

function range(address: string, size: string) {
  return (value: Value): Value => {
    const limit = 1n << 62n;
    return {
      ...value,
      [address]: BigInt(num(value, address) % 2 ** 53),
      [size]: (big(value, size) % limit) + 1n,
    };
  };
}

function unmap(value: Value): Value {
  const all = (num(value, 'flags') & 2) !== 0;
  const size = all ? 0n : (big(value, 'size') % (1n << 40n)) + 1n;
  const flags = all ? 2 : num(value, 'flags');
  const bitmap = flags === 1 ? { pgsize: 1n << 22n, size: bitmapSize(size, 1n << 22n) } : null;
  return {
    argsz: 0xffff_ffff,
    flags,
    address: all ? 0n : BigInt(num(value, 'address') % 2 ** 53),
    size,
    bitmap,
  };
}

function setIrqs(value: Value): Value {
  const start = num(value, 'start') % 1024;
  const count = num(value, 'count') % 1024;
  const action = [8, 16, 32][count % 3] ?? 8;
  const kind = count === 0 ? 0 : ([1, 2, 4][start % 3] ?? 1);
  const fixed = count === 0 ? { flags: 33, start: 0 } : { flags: kind | action, start };
  return {
    ...value,
    ...fixed,
    count,
    argsz: 20 + count,
    data: new Uint8Array(kind === 2 ? count : 0).fill(1),
  };
}

function regionInfo(value: Value): Value {
  const capabilities = list(value, 'capabilities');
  const flags = capabilities.length === 0 ? num(value, 'flags') : num(value, 'flags') | 8;
  return { ...value, flags: flags >>> 0, size: 1n << 20n };
}

/** By label: how to make a random value keep the rules that join several of its fields. */
const repairs: Readonly<Record<string, (value: Value) => Value>> = {
  'DMA_MAP request': (value) => {
    const ranged = range('address', 'size')(argsz(32)(value));
    return {
      ...ranged,
      offset: BigInt(num(value, 'offset') % 2 ** 53),
      flags: (num(value, 'flags') & 7) | 1,
    };
  },
  'DMA_UNMAP request': unmap,
  'DEVICE_GET_INFO request': argsz(16),
  'DEVICE_GET_REGION_INFO request': argsz(32),
  'DEVICE_GET_REGION_INFO reply': regionInfo,
  'DEVICE_GET_REGION_IO_FDS request': (value) => ({ ...argsz(16)(value), count: 0 }),
  'DEVICE_GET_IRQ_INFO request': argsz(16),
  'DEVICE_SET_IRQS request': setIrqs,
  'REGION_READ request': (value) => ({ ...value, offset: BigInt(num(value, 'offset') % 2 ** 53) }),
  'REGION_WRITE request': (value) => ({ ...value, offset: BigInt(num(value, 'offset') % 2 ** 53) }),
  'DMA_READ request': range('address', 'count'),
  'DMA_WRITE request': (value) => ({ ...value, address: BigInt(num(value, 'address') % 2 ** 53) }),
  'REGION_WRITE_MULTI request': (value) => ({
    ...value,
    wrs: list(value, 'wrs').map((one) => ({ ...one, count: num(one, 'count') % 9 })),
  }),
  'DEVICE_FEATURE request': (value) => ({
    ...argsz(8)(value),
    flags: (num(value, 'flags') & 0xffff) | 0x1_0000,
  }),
  'MIG_DATA_READ request': (value) => ({ argsz: 0xffff_ffff, size: num(value, 'size') % 2 ** 31 }),
  'MIG_DATA_WRITE request': argsz(8),
  'FERRY_RECONNECTION request': (value) => ({
    ...argsz(24)(value),
    operation: num(value, 'operation') % 4,
  }),
  'FERRY_CLAIM request': (value) => ({
    ...argsz(56)(value),
    operation: num(value, 'operation') % 4,
    flags: num(value, 'operation') % 4 === 3 ? num(value, 'flags') : 0,
  }),
  'FERRY_SWITCHOVER request': (value) => ({
    ...argsz(16)(value),
    operation: num(value, 'operation') % 4,
  }),
  'FERRY_PRECOPY_INFO request': argsz(24),
  'FERRY_INSPECT request': argsz(8),
  'DMA_LOGGING_START SET request': loggingStart,
  'DMA_LOGGING_START SET reply': loggingStart,
  'DMA_LOGGING_REPORT GET request': report,
  'DMA_LOGGING_REPORT GET reply': (value) => {
    const fixed = report(value);
    return {
      ...fixed,
      bitmap: new Uint8Array(Number(bitmapSize(big(fixed, 'length'), PAGE))).fill(0xa5),
    };
  },
};
