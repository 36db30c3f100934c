import { VmError } from '../vm-error.ts';

/** No packet is longer, in bytes: QEMU's PacketSize is 0x20020 (gdbstub/gdbstub.c, MAX_PACKET_LENGTH). */
export const MAX_GDB_PACKET = 256 * 1024;

const DOLLAR = 0x24;
const HASH = 0x23;
const PLUS = 0x2b;
const MINUS = 0x2d;
const ESCAPE = 0x7d;
const REPEAT = 0x2a;

/** What a stub says (the GDB manual, appendix E, Overview). */
export type GdbToken =
  | { readonly is: 'ack' }
  | { readonly is: 'nack' }
  | { readonly is: 'packet'; readonly text: string };

/** A packet as it is sent: `$text#checksum`. The text has to be ASCII without `$`, `#` and `}`. */
export function encodePacket(text: string): string {
  let sum = 0;
  for (let i = 0; i < text.length; i += 1) sum = (sum + text.charCodeAt(i)) & 0xff;
  return `$${text}#${hexByte(sum)}`;
}

/** Cuts what a stub sends into acknowledgements and packets, and verifies their checksums. */
export class GdbDecoder {
  #bytes: number[] = [];
  #checksum = '';
  #state: 'between' | 'inside' | 'checksum' = 'between';

  /** What is complete now. @throws VmError ERR_VM_PROTOCOL */
  push(bytes: Uint8Array): readonly GdbToken[] {
    const tokens: GdbToken[] = [];
    for (const byte of bytes) {
      const token = this.#take(byte);
      if (token !== null) tokens.push(token);
    }
    return tokens;
  }

  #take(byte: number): GdbToken | null {
    if (this.#state === 'inside') return this.#inside(byte);
    if (this.#state === 'checksum') return this.#finish(byte);
    if (byte === DOLLAR) this.#state = 'inside';
    else if (byte === PLUS) return { is: 'ack' };
    else if (byte === MINUS) return { is: 'nack' };
    else throw strange(`the byte 0x${hexByte(byte)} stands between packets`);
    return null;
  }

  #inside(byte: number): null {
    if (byte === HASH) this.#state = 'checksum';
    else if (this.#bytes.push(byte) > MAX_GDB_PACKET)
      throw strange(`a packet has more than ${MAX_GDB_PACKET} bytes`);
    return null;
  }

  #finish(byte: number): GdbToken | null {
    this.#checksum += String.fromCharCode(byte);
    if (this.#checksum.length < 2) return null;
    const sum = this.#bytes.reduce((all, each) => (all + each) & 0xff, 0);
    const expected = this.#checksum.toLowerCase();
    const text = decodeText(this.#bytes);
    this.#bytes = [];
    this.#checksum = '';
    this.#state = 'between';
    if (expected !== hexByte(sum))
      throw strange(`a packet has the checksum ${expected} instead of ${hexByte(sum)}`);
    return { is: 'packet', text };
  }
}

/** Escapes and runs (the GDB manual, E.1): `}` stands before a byte that is changed by 0x20, `*` before a count. */
function decodeText(bytes: readonly number[]): string {
  const out: number[] = [];
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i] ?? 0;
    if (byte === ESCAPE) out.push((bytes[++i] ?? 0) ^ 0x20);
    else if (byte === REPEAT) repeat(out, (bytes[++i] ?? 0) - 29);
    else out.push(byte);
    if (out.length > MAX_GDB_PACKET) throw strange(`a packet has more than ${MAX_GDB_PACKET} bytes`);
  }
  return Buffer.from(out).toString('latin1');
}

function repeat(out: number[], count: number): void {
  const last = out.at(-1);
  if (last === undefined || count < 3 || count > 97)
    throw strange('a run of nothing, or of an impossible length');
  for (let i = 0; i < count; i += 1) out.push(last);
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}

function strange(why: string): VmError {
  return new VmError('ERR_VM_PROTOCOL', `what came from the gdb stub is no packet: ${why}`);
}
