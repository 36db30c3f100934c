import { ProtocolError } from './protocol-error.ts';

/**
 * A position in the payload of one message while it is decoded. Every read is preceded by {@link Cursor.take}, which
 * is what makes a short message an error with the field and the byte instead of a RangeError.
 */
export class Cursor {
  /** Command and direction, for errors: `DMA_MAP request`. */
  readonly label: string;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Offset from the end of the header. */
  at = 0;

  constructor(label: string, bytes: Uint8Array) {
    this.label = label;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How many bytes are left. */
  get left(): number {
    return this.bytes.length - this.at;
  }

  /** Throws unless `length` more bytes are there for `field`; returns where they start and moves past them. */
  take(length: number, field: string): number {
    const start = this.at;
    if (!(length <= this.left)) this.fail(field, `needs ${length} bytes, ${this.left} are left`);
    this.at = start + length;
    return start;
  }

  /** Throws EINVAL, naming the message, `field` and the byte. */
  fail(field: string, what: string, byte: number = this.at): never {
    throw malformed(this.label, field, byte, what);
  }
}

/** The error of a message that breaks its layout or a rule; `byte` counts from the end of the header. */
export function malformed(
  label: string,
  field: string,
  byte: number,
  what: string,
  errno?: number,
): ProtocolError {
  return new ProtocolError(`${label}: ${field} at byte ${byte} ${what}`, {
    ...(errno === undefined ? {} : { errno }),
    context: { message: label, field, byte },
  });
}
