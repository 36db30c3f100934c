import type { DeviceImage, ImageBlock, ImageIdentity, ImageSchema } from '../stream/index.ts';
import { qualifiedName } from '../stream/index.ts';

/** A device's image without some of its blocks, whose memory passes on as it is. */
export class LentImage implements DeviceImage {
  readonly identity: ImageIdentity;
  readonly schema: ImageSchema;
  readonly blocks: readonly ImageBlock[];
  readonly #whole: DeviceImage;

  /** `lent` are qualified names. */
  constructor(whole: DeviceImage, lent: ReadonlySet<string>) {
    this.#whole = whole;
    this.identity = whole.identity;
    this.schema = {
      parts: whole.schema.parts.map((part) => ({
        ...part,
        blocks: part.blocks.filter(({ name }) => !lent.has(qualifiedName(part.name, name))),
      })),
    };
    this.blocks = whole.blocks.filter(({ name }) => !lent.has(name));
  }

  saveFields(): ReadonlyMap<string, Uint8Array> {
    return this.#whole.saveFields();
  }

  loadFields(values: ReadonlyMap<string, Uint8Array>, versions: ReadonlyMap<string, number>): void {
    this.#whole.loadFields(values, versions);
  }
}
