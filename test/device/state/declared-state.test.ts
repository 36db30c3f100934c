import { describe, expect, it } from 'vitest';
import { bool, bytes, declareState, memory, u8, u16, u32, u64 } from '../../../src/device/state/index.ts';

const SHAPE = {
  flags: u8({ initial: 3 }),
  ticks: u32(),
  total: u64({ initial: 1n }),
  on: bool({ initial: true }),
  mac: bytes(6, { initial: Uint8Array.of(1, 2, 3, 4, 5, 6) }),
  table: u16({ length: 3, initial: [7, 8, 9] }),
  words: u32({ length: 2, initial: 0xffff_ffff }),
  scratch: memory(4096),
  image: memory(8192, { onReset: 'keep' }),
} as const;

function plain(state: ReturnType<typeof declareState<typeof SHAPE>>['state']) {
  const { flags, ticks, total, on, mac, table, words } = state;
  return { flags, ticks, total, on, mac: [...mac], table: [...table], words: [...words] };
}

const INITIAL = {
  flags: 3,
  ticks: 0,
  total: 1n,
  on: true,
  mac: [1, 2, 3, 4, 5, 6],
  table: [7, 8, 9],
  words: [0xffff_ffff, 0xffff_ffff],
};

function change(state: ReturnType<typeof declareState<typeof SHAPE>>['state']): void {
  state.flags = 0x81;
  state.ticks += 0x01020304;
  state.total = 0x0102030405060708n;
  state.on = false;
  state.mac.fill(0xaa);
  state.table.set([1, 2, 0x1234]);
  state.words[1] = 0xdeadbeef;
}

describe('a declared state', () => {
  it('starts with the initial values and a reset restores them', () => {
    const declared = declareState(SHAPE);
    expect(plain(declared.state)).toEqual(INITIAL);
    change(declared.state);
    for (const block of declared.blocks) block.fill(1);
    declared.reset();
    expect(plain(declared.state)).toEqual(INITIAL);
    expect([declared.state.scratch.bytes[0], declared.state.image.bytes[0]]).toEqual([0, 1]);
  });

  it('keeps each field in a place of its own', () => {
    const { state } = declareState(SHAPE);
    change(state);
    expect(plain(state)).toEqual({
      flags: 0x81,
      ticks: 0x01020304,
      total: 0x0102030405060708n,
      on: false,
      mac: [0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa],
      table: [1, 2, 0x1234],
      words: [0xffff_ffff, 0xdeadbeef],
    });
  });

  it('is apart from that of another device of the same shape', () => {
    const [a, b] = [declareState(SHAPE), declareState(SHAPE)];
    change(a.state);
    expect(plain(b.state)).toEqual(INITIAL);
  });

  it('describes itself in the order of the declaration', () => {
    const { part, blocks } = declareState(
      { b: u8(), a: u64({ length: 2, since: 2 }), m: memory(4096) },
      { version: 2 },
    );
    expect(part).toEqual({
      name: '',
      version: 2,
      oldest: 1,
      fields: [
        { name: 'b', type: 'u8', count: 1, since: 1 },
        { name: 'a', type: 'u64', count: 2, since: 2 },
      ],
      blocks: [{ name: 'm', size: 4096, since: 1 }],
    });
    expect(blocks.map(({ name, key }) => [name, key])).toEqual([['m', 'm']]);
  });

  it('names its fields and blocks after its part', () => {
    const declared = declareState({ command: u16(), table: memory(4096) }, { part: 'pci' });
    expect([...declared.save()].map(([name]) => name)).toEqual(['pci.command']);
    expect(declared.state.table.name).toBe('pci.table');
  });

  it('does not let a misspelt name pass', () => {
    const { state } = declareState({ ticks: u32() });
    expect(() => Object.assign(state, { tikcs: 1 })).toThrow(TypeError);
  });

  it('shows its fields to whoever lists them', () => {
    expect(Object.keys(declareState(SHAPE).state).sort()).toEqual(Object.keys(SHAPE).sort());
  });
});

describe('saving and loading', () => {
  it('writes little-endian values', () => {
    const declared = declareState(SHAPE);
    change(declared.state);
    const values = new Map(
      [...declared.save()].map(([name, value]) => [name, Buffer.from(value).toString('hex')]),
    );
    expect(Object.fromEntries(values)).toEqual({
      flags: '81',
      ticks: '04030201',
      total: '0807060504030201',
      on: '00',
      mac: 'aaaaaaaaaaaa',
      table: '010002003412',
      words: 'ffffffffefbeadde',
    });
  });

  it('brings back what was saved', () => {
    const [source, target] = [declareState(SHAPE), declareState(SHAPE)];
    change(source.state);
    target.load(new Map(source.save()), 1);
    expect(plain(target.state)).toEqual(plain(source.state));
  });

  /** Version 3 of a state that began with `ticks` alone. */
  const grown = (log: [ticks: number, from: number][] = []) =>
    declareState(
      {
        ticks: u32(),
        period: u32({ since: 2, initial: 100 }),
        extra: memory(4096, { since: 3, onReset: 'keep' }),
      },
      { version: 3, upgrade: (state, from) => void log.push([state.ticks, from]) },
    );

  it('gives what is younger than the state its initial value, and then asks for the upgrade', () => {
    const log: [ticks: number, from: number][] = [];
    const declared = grown(log);
    declared.state.period = 5;
    declared.state.extra.fill(1);
    declared.load(new Map([['ticks', Uint8Array.of(9, 0, 0, 0)]]), 1);
    expect([declared.state.ticks, declared.state.period, declared.state.extra.bytes[0]]).toEqual([9, 100, 0]);
    expect(log).toEqual([[9, 1]]);
  });

  it('asks for no upgrade when the versions are equal', () => {
    const log: [ticks: number, from: number][] = [];
    const declared = grown(log);
    declared.load(new Map(declared.save()), 3);
    expect(log).toEqual([]);
  });

  const value = (size: number) => new Uint8Array(size).fill(7);
  const wrong: readonly (readonly [what: string, values: ReadonlyMap<string, Uint8Array>, from: number])[] = [
    ['lacks a field', new Map(), 1],
    ['lacks a field of its version', new Map([['ticks', value(4)]]), 2],
    [
      'has a field that is younger',
      new Map([
        ['ticks', value(4)],
        ['period', value(4)],
      ]),
      1,
    ],
    ['has a field of the wrong size', new Map([['ticks', value(3)]]), 1],
  ];
  it.each(wrong)('refuses values if one %s, and changes nothing', (_, values, from) => {
    const declared = grown();
    expect(() => declared.load(values, from)).toThrow(expect.objectContaining({ code: 'ERR_STATE_VALUE' }));
    expect([declared.state.ticks, declared.state.period]).toEqual([0, 100]);
  });
});
