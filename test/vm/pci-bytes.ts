/** What a test wants of a configuration space. */
export interface ConfigWish {
  readonly command?: number;
  readonly bars?: Readonly<Record<number, number>>;
  readonly line?: number;
  /** MSI-X at 0x40: control, and BAR and offset of table and PBA. */
  readonly msix?: { readonly control: number; readonly table: number; readonly pba: number };
  /** Power management at 0x60, its control word. */
  readonly power?: number;
}

/** 256 bytes of configuration space of a made-up device. */
export function configSpace({ command = 0, bars = {}, line = 0, msix, power }: ConfigWish = {}): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint16(0x00, 0x1af4, true);
  view.setUint16(0x02, 0x10f0, true);
  view.setUint16(0x04, command, true);
  for (const [index, value] of Object.entries(bars)) view.setUint32(0x10 + 4 * Number(index), value, true);
  view.setUint8(0x3c, line);
  view.setUint8(0x3d, 1);
  if (msix !== undefined || power !== undefined) view.setUint16(0x06, 0x10, true);
  view.setUint8(0x34, msix === undefined ? (power === undefined ? 0 : 0x60) : 0x40);
  if (msix !== undefined) {
    view.setUint8(0x40, 0x11);
    view.setUint8(0x41, power === undefined ? 0 : 0x60);
    view.setUint16(0x42, msix.control, true);
    view.setUint32(0x44, msix.table, true);
    view.setUint32(0x48, msix.pba, true);
  }
  if (power !== undefined) {
    view.setUint8(0x60, 0x01);
    view.setUint16(0x64, power, true);
  }
  return bytes;
}

/** An MSI-X table; entries that are not given are as after a reset. */
export function msixTable(vectors: number, entries: Readonly<Record<number, readonly number[]>>): Uint8Array {
  const bytes = new Uint8Array(16 * vectors);
  const view = new DataView(bytes.buffer);
  for (let vector = 0; vector < vectors; vector += 1) {
    const words = entries[vector] ?? [0, 0, 0, 1];
    for (const [i, word] of words.entries()) view.setUint32(16 * vector + 4 * i, word, true);
  }
  return bytes;
}
