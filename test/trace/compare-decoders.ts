import { decodeMessage, type FieldNode } from '../../src/trace/index.ts';
import type { TsharkField } from './tshark.ts';

/** A field in the form in which both decoders are compared. */
export type Line = readonly [key: string, position: number, size: number, value: string, name: string];

const KINDS_OF_NAMES = /^[A-Z][A-Z_0-9]*$/;

/** What our own decoder says of a message. */
export function ourLines(bytes: Uint8Array): readonly Line[] {
  const { head, fields } = decodeMessage(bytes);
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const header: Line = ['vfio_user.header', 0, 16, '', ''];
  return [header, ...[...head, ...fields].flatMap((node) => linesOf(node, raw))];
}

function linesOf(node: FieldNode, raw: Buffer): readonly Line[] {
  const { key, offset, size, value } = node;
  const hex = value === null ? '' : raw.subarray(offset, offset + size).toString('hex');
  // Of a flag field the parts have the names.
  const name = node.parts.length === 0 && KINDS_OF_NAMES.test(node.text) ? node.text : '';
  const own: Line = [key, offset, size, hex, name];
  const parts = node.parts.map(
    (part): Line => [
      part.key,
      offset,
      size,
      String(part.value),
      KINDS_OF_NAMES.test(part.text) ? part.text : '',
    ],
  );
  return [own, ...parts, ...node.children.flatMap((child) => linesOf(child, raw))];
}

/** The same of what tshark says. */
export function tsharkLines(fields: readonly TsharkField[], recordSize: number): readonly Line[] {
  const isOurs = ({ key }: TsharkField): boolean => !/^vfio_user\.(?:record|response|latency)/.test(key);
  return fields.filter(isOurs).map(({ key, position, size, value, show, label }): Line => {
    const isPart = / = /.test(label) && /[.01]{4}/.test(label);
    const name = /: ([A-Z][A-Z_0-9]*) \(\d+\)$/.exec(label)?.[1] ?? '';
    return [key, position - recordSize, size, isPart ? String(Number(show)) : value, name];
  });
}
