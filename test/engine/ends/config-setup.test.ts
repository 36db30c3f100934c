import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WithheldAction } from '../../../src/channel/index.ts';
import { actionWrites, setupWrites } from '../../../src/engine/ends/config-setup.ts';

const { INTERRUPTS, DMA } = WithheldAction;
const [PM, MSI, EXPRESS, MSIX] = [0x40, 0x50, 0x70, 0xb0];

/** A configuration space with every capability that is set up; `values` are put in as 16-bit words. */
function space(values: Readonly<Record<number, number>> = {}, size = 256): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const words: Record<number, number> = {
    0x00: 0x1af4,
    0x02: 0x10f7,
    0x06: 0x0010,
    0x34: PM,
    [PM]: 0x0001 | (MSI << 8),
    [MSI]: 0x0005 | (EXPRESS << 8),
    [MSI + 2]: 0x0182,
    [EXPRESS]: 0x0010 | (MSIX << 8),
    [EXPRESS + 2]: 0x0002,
    [MSIX]: 0x0011,
    [MSIX + 2]: 0x0003,
    ...values,
  };
  for (const [at, value] of Object.entries(words)) view.setUint16(Number(at), value, true);
  return bytes;
}

/** The guest has set everything up. */
const WANTED = space({
  0x04: 0x0007,
  0x10: 0x0004,
  0x12: 0xfe40,
  0x3c: 0x000b,
  [PM + 4]: 0x8003,
  [MSI + 2]: 0x0193,
  [MSI + 4]: 0x1000,
  [MSI + 6]: 0xfee0,
  [MSI + 12]: 0x4041,
  [MSI + 16]: 0x0002,
  [EXPRESS + 8]: 0xa810,
  [EXPRESS + 0x28]: 0x0009,
  [MSIX + 2]: 0x8003,
});

function inWords(writes: ReturnType<typeof setupWrites>) {
  return writes.map(({ offset, bytes }) => {
    const hex = Buffer.from(bytes).reverse().toString('hex');
    return `${offset.toString(16)} ${hex}`;
  });
}

describe('setupWrites', () => {
  it('sets up addresses, then capabilities, then COMMAND, and never what would do something twice', () => {
    expect(inWords(setupWrites(space(), WANTED, 0))).toEqual([
      '10 fe400004',
      '14 00000000',
      '18 00000000',
      '1c 00000000',
      '20 00000000',
      '24 00000000',
      '30 00000000',
      'c 00',
      'd 00',
      '3c 0b',
      '78 2810',
      '98 0009',
      '44 0003',
      '54 fee01000',
      '58 00000000',
      '5c 4041',
      '60 00000002',
      '52 0193',
      'b2 8003',
      '4 0007',
    ]);
  });

  it.each([
    ['interrupts', INTERRUPTS, { '52': '0192', b2: '0003', '4': '0407' }],
    ['DMA', DMA, { '52': '0193', b2: '8003', '4': '0003' }],
    ['both', INTERRUPTS | DMA, { '52': '0192', b2: '0003', '4': '0403' }],
  ])('withholds %s', (_, withheld, expected) => {
    const writes = new Map(inWords(setupWrites(space(), WANTED, withheld)).map((each) => splitAt(each)));
    for (const [offset, value] of Object.entries(expected)) expect(writes.get(offset), offset).toBe(value);
  });

  it('knows the layouts of MSI without 64-bit addresses and masks, and of PCI Express version 1', () => {
    const small = { [MSI + 2]: 0x0002, [EXPRESS + 2]: 0x0001 };
    const offsets = setupWrites(space(small), space(small), 0).map(({ offset }) => offset);
    expect(offsets.slice(10)).toEqual([EXPRESS + 8, PM + 4, MSI + 4, MSI + 8, MSI + 2, MSIX + 2, 4]);
  });

  it.each([
    ['another device', space({ 0x02: 0x1111 }), /device is another one/],
    ['another subsystem', space({ 0x2c: 7 }), /subsystem is another one/],
    ['another header', space({ 0x0e: 1 }), /header type is another one/],
    [
      'a capability elsewhere',
      space({ [EXPRESS]: 0x0010 | (0xc0 << 8), 0xc0: 0x0011 }),
      /MSI-X is not in the same place/,
    ],
    ['a capability less', space({ [EXPRESS]: 0x0010 }), /MSI-X is not in the same place/],
    ['another size', space({}, 4096), /it has 4096 bytes here and 256 there/],
    ['nothing', new Uint8Array(0), /it has 0 bytes/],
  ])('refuses that of %s', (_, wanted, message) => {
    expect(() => setupWrites(space(), wanted, 0)).toThrow(message);
  });

  it('takes whatever bytes a source sends: it refuses them, or writes inside the registers that are declared', () => {
    const allowed = new Map(
      setupWrites(space(), space(), 0).map(({ offset, bytes }) => [offset, bytes.length]),
    );
    fc.assert(
      fc.property(
        fc.array(fc.record({ at: fc.nat(255), value: fc.nat(255) }), { maxLength: 40 }),
        fc.nat(7),
        (changes, withheld) => {
          const wanted = WANTED.slice();
          for (const { at, value } of changes) wanted[at] = value;
          let writes: ReturnType<typeof setupWrites> = [];
          try {
            writes = setupWrites(space(), wanted, withheld);
          } catch {
            return;
          }
          for (const { offset, bytes } of writes) expect(allowed.get(offset)).toBe(bytes.length);
          expect(writes.at(-1)?.offset).toBe(4);
          const flr = writes.find(({ offset }) => offset === EXPRESS + 8);
          expect((flr?.bytes[1] ?? 0) & 0x80, 'a function level reset').toBe(0);
        },
      ),
    );
  });
});

describe('actionWrites', () => {
  it.each([
    ['interrupts alone', INTERRUPTS, 0, ['52 0193', 'b2 8003', '4 0007']],
    ['interrupts, while DMA is still withheld', INTERRUPTS, DMA, ['52 0193', 'b2 8003', '4 0003']],
    ['DMA, while interrupts are still withheld', DMA, INTERRUPTS, ['4 0407']],
    ['nothing', 0, INTERRUPTS, []],
  ])('does %s', (_, actions, withheld, expected) => {
    expect(inWords(actionWrites(space(), WANTED, actions, withheld))).toEqual(expected);
  });
});

function splitAt(text: string): [string, string] {
  const [offset = '', value = ''] = text.split(' ');
  return [offset, value];
}
