import { Errno, type ErrnoName, errnoName } from '../../src/errors/index.ts';
import { ProtocolError } from '../../src/protocol/index.ts';

/** Bytes from hex as it stands in the tables of the tests: spaces and `|` are for the reader. Little-endian. */
export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(/[\s|]/g, ''), 'hex'));
}

/** Bytes as hex without separators. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** The ProtocolError that `action` throws; fails the test when it throws nothing or something else. */
export function refusal(action: () => unknown): ProtocolError {
  try {
    action();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** What matters of a refusal, for comparison: errno by name, field, byte. */
export function refused(action: () => unknown): { errno: string; field: unknown; byte: unknown } {
  const { errno, context } = refusal(action);
  const { field, byte } = context;
  return { errno: errnoName(errno), field, byte };
}

/** What {@link refused} gives for this errno, field and byte. */
export function at(errno: ErrnoName, field: string, byte: number) {
  return { errno: errnoName(Errno[errno]), field, byte };
}
