/** What a field holds: bytes are a view of the message; null is a group, whose value is its children. */
export type FieldValue = number | bigint | string | Uint8Array | null;

/** Some bits of a field that mean something by themselves. */
export interface FieldPart {
  /** Unique over all messages: `vfio_user.dma_map.request.flags.read`. */
  readonly key: string;
  readonly name: string;
  /** Which bits of the field. */
  readonly mask: number;
  /** Their value: 0 or 1 for a single bit, otherwise the bits moved down. */
  readonly value: number;
  readonly text: string;
}

/** A named range of bytes of a message. */
export interface FieldNode {
  /** Unique over all messages: `vfio_user.dma_map.request.flags`. Wireshark knows the field by the same name. */
  readonly key: string;
  /** As in the specification; `ranges[2]` for the element of an array. */
  readonly name: string;
  /** From the start of the message, header included, in bytes. */
  readonly offset: number;
  readonly size: number;
  readonly value: FieldValue;
  /** As people read it. */
  readonly text: string;
  readonly parts: readonly FieldPart[];
  readonly children: readonly FieldNode[];
}

/** What all names of fields begin with. */
export const ROOT_KEY = 'vfio_user';

const payloadKeys = new Map<string, string>();

/** The key of a payload's fields from its label: `DMA_MAP request` is `vfio_user.dma_map.request`. */
export function payloadKey(label: string): string {
  let key = payloadKeys.get(label);
  if (key === undefined) {
    key = `${ROOT_KEY}.${label.toLowerCase().replaceAll(' ', '.')}`;
    payloadKeys.set(label, key);
  }
  return key;
}

/** Every node below and including `nodes`, in the order of the wire. */
export function* allNodes(nodes: readonly FieldNode[]): Generator<FieldNode> {
  for (const node of nodes) {
    yield node;
    yield* allNodes(node.children);
  }
}
