import {
  type DeviceImage,
  type DirtyRun,
  fieldSize,
  type ImageBlock,
  type ImageIdentity,
  type ImagePart,
  type ImageSchema,
  PAGE_SIZE,
  qualifiedName,
  type StateReader,
  StateWriter,
} from '../../src/stream/index.ts';

/** A block in the simplest way that fulfils the contract: a set of dirty pages, and a copy of what was sent. */
export class ModelBlock implements ImageBlock {
  readonly name: string;
  readonly size: number;
  readonly bytes: Uint8Array;
  /** Every range that the reader reported. */
  readonly reported: (readonly [offset: number, length: number])[] = [];
  refreshes = 0;
  readonly #sent: Uint8Array;
  #dirty: Set<number> | null = null;
  #cursor = 0;

  constructor(name: string, size: number) {
    this.name = name;
    this.size = size;
    this.bytes = new Uint8Array(size);
    this.#sent = new Uint8Array(size);
  }

  get tracking(): boolean {
    return this.#dirty !== null;
  }

  /** A write that the device reports. */
  write(offset: number, data: Uint8Array): void {
    this.bytes.set(data, offset);
    for (const page of pagesOf(offset, data.length)) this.#dirty?.add(page);
  }

  track(): void {
    this.#dirty = new Set(pagesOf(0, this.size));
    this.#cursor = 0;
  }

  untrack(): void {
    this.#dirty = null;
  }

  /** Finds the writes that went straight to `bytes`. */
  refresh(): void {
    this.refreshes += 1;
    for (const page of pagesOf(0, this.size)) {
      if (Buffer.compare(pageOf(this.bytes, page), pageOf(this.#sent, page)) !== 0) this.#dirty?.add(page);
    }
  }

  get dirtyBytes(): number {
    return (this.#dirty?.size ?? 0) * PAGE_SIZE;
  }

  takeDirty(limit: number): DirtyRun | null {
    const dirty = this.#dirty ?? new Set();
    const pages = [...dirty].sort((a, b) => a - b);
    const first = pages.find((page) => page >= this.#cursor) ?? pages[0];
    if (first === undefined) return null;
    const zero = isZero(pageOf(this.bytes, first));
    let end = first;
    while (
      dirty.has(end) &&
      (end + 1 - first) * PAGE_SIZE <= limit &&
      isZero(pageOf(this.bytes, end)) === zero
    ) {
      pageOf(this.#sent, end).set(pageOf(this.bytes, end));
      dirty.delete(end);
      end += 1;
    }
    this.#cursor = end;
    const [offset, length] = [first * PAGE_SIZE, (end - first) * PAGE_SIZE];
    return { offset, length, bytes: zero ? null : this.#sent.subarray(offset, offset + length) };
  }

  loaded(offset: number, length: number): void {
    this.reported.push([offset, length]);
  }
}

function* pagesOf(offset: number, length: number): Iterable<number> {
  for (let page = Math.floor(offset / PAGE_SIZE); page * PAGE_SIZE < offset + length; page += 1) yield page;
}

function pageOf(bytes: Uint8Array, page: number): Uint8Array {
  return bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

export const IDENTITY: ImageIdentity = {
  kind: 'sample',
  vendor: 0x1234,
  device: 0x11e8,
  subsystemVendor: 0x1af4,
  subsystemDevice: 0x1100,
  revision: 0x10,
  classCode: 0x00ff00,
};

/** A device as the stream sees it: fields as bytes, blocks as models. */
export class ModelImage implements DeviceImage {
  readonly identity: ImageIdentity;
  readonly schema: ImageSchema;
  readonly blocks: readonly ModelBlock[];
  readonly values = new Map<string, Uint8Array>();
  /** The versions of each state that was loaded. */
  readonly loads: ReadonlyMap<string, number>[] = [];
  /** Thrown by loadFields. */
  refusal: Error | null = null;

  constructor(parts: readonly ImagePart[], identity: Partial<ImageIdentity> = {}) {
    this.identity = { ...IDENTITY, ...identity };
    this.schema = { parts };
    this.blocks = parts.flatMap((part) =>
      part.blocks.map((block) => new ModelBlock(qualifiedName(part.name, block.name), block.size)),
    );
    for (const part of parts) {
      for (const field of part.fields) {
        this.values.set(qualifiedName(part.name, field.name), new Uint8Array(fieldSize(field)));
      }
    }
  }

  saveFields(): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.values].map(([name, value]) => [name, value.slice()]));
  }

  loadFields(values: ReadonlyMap<string, Uint8Array>, versions: ReadonlyMap<string, number>): void {
    if (this.refusal !== null) throw this.refusal;
    this.loads.push(versions);
    for (const [name, value] of values) this.values.set(name, value.slice());
  }

  /** Everything that migrates, for comparisons. */
  get content(): Readonly<Record<string, string>> {
    const fields = [...this.values].map(([name, value]) => [name, Buffer.from(value).toString('hex')]);
    const blocks = this.blocks.map(({ name, bytes }) => [name, Buffer.from(bytes).toString('latin1')]);
    return Object.fromEntries([...fields, ...blocks]);
  }

  /** The block named `name`. */
  block(name: string): ModelBlock {
    const block = this.blocks.find((candidate) => candidate.name === name);
    if (block === undefined) throw new Error(`no block ${name}`);
    return block;
  }
}

/** A part with defaults. */
export function part(of: Partial<ImagePart>): ImagePart {
  return { name: '', version: 1, oldest: 1, fields: [], blocks: [], ...of };
}

/** A small device: two fields, two blocks of which one page is empty, in two parts. */
export function sampleImage(): ModelImage {
  const image = new ModelImage([
    part({
      fields: [
        { name: 'ticks', type: 'u32', count: 1, since: 1 },
        { name: 'on', type: 'bool', count: 1, since: 1 },
      ],
      blocks: [{ name: 'ram', size: 2 * PAGE_SIZE, since: 1 }],
    }),
    part({ name: 'pci', fields: [{ name: 'config', type: 'bytes', count: 16, since: 1 }] }),
  ]);
  image.values.set('ticks', Uint8Array.of(1, 2, 3, 4));
  image.values.set('on', Uint8Array.of(1));
  image.values.set(
    'pci.config',
    Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i),
  );
  image.block('ram').bytes.fill(0x5a, 100, 200);
  return image;
}

/** Reads everything that a writer has now, in pieces of the sizes that `sizes` names in turn. */
export function drain(writer: StateWriter, sizes: readonly number[] = [4096]): Buffer {
  const pieces: Buffer[] = [];
  for (let turn = 0; ; turn += 1) {
    const piece = Buffer.alloc(sizes[turn % sizes.length] ?? 1);
    const count = writer.read(piece);
    pieces.push(piece.subarray(0, count));
    if (count < piece.length) return Buffer.concat(pieces);
  }
}

/** The whole state of a stopped device. */
export function save(image: DeviceImage, sizes?: readonly number[]): Buffer {
  const writer = new StateWriter(image);
  writer.start();
  writer.stop();
  const stream = drain(writer, sizes);
  writer.close();
  return stream;
}

/** Writes a stream in pieces of the sizes that `sizes` names in turn. */
export function feed(
  reader: StateReader,
  stream: Uint8Array,
  sizes: readonly number[] = [stream.length],
): void {
  for (let at = 0, turn = 0; at < stream.length; turn += 1) {
    const end = at + Math.max(1, sizes[turn % sizes.length] ?? 1);
    reader.write(stream.subarray(at, end));
    at = end;
  }
}
