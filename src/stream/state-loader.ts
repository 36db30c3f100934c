import { FerryError } from '../errors/index.ts';
import { Coverage } from './coverage.ts';
import { type DeviceImage, type ImageBlock, PAGE_SIZE } from './device-image.ts';
import { EndData, MAX_HEADER_DATA, RecordType } from './format.ts';
import { decodeImageHeader } from './image-header.ts';
import { type LoadPlan, planLoading } from './load-plan.ts';
import { describeRecord, type ParsedRecord, type RecordSink } from './record-parser.ts';
import { StreamError, type StreamErrorCode } from './stream-error.ts';

/** How far the state has got. */
type Phase = 'header' | 'blocks' | 'end' | 'complete';

/** Which records may come in each phase. */
const EXPECTED: Readonly<Record<Phase, readonly number[]>> = {
  header: [RecordType.HEADER],
  blocks: [RecordType.BLOCK, RecordType.ZERO, RecordType.FIELDS],
  end: [RecordType.END],
  complete: [],
};

/** A block and what of it has arrived. */
interface Target {
  readonly block: ImageBlock;
  readonly coverage: Coverage;
}

const NOTHING = new Uint8Array(0);
const NO_PLAN: LoadPlan = { blocks: [], fields: [], versions: new Map() };

/** Brings the verified records of one stream into a device. */
export class StateLoader implements RecordSink {
  readonly #image: DeviceImage;
  #phase: Phase = 'header';
  #plan: LoadPlan = NO_PLAN;
  #targets: readonly Target[] = [];
  /** Where the data of the current record go: a block, or a buffer; and the next byte in it. */
  #block: ImageBlock | null = null;
  #buffer: Uint8Array = NOTHING;
  #at = 0;
  /** The data of the FIELDS record. */
  #fields: Uint8Array = NOTHING;

  constructor(image: DeviceImage) {
    this.#image = image;
  }

  /** Whether the END was verified and the fields were applied. */
  get complete(): boolean {
    return this.#phase === 'complete';
  }

  begin(record: ParsedRecord): void {
    if (!EXPECTED[this.#phase].includes(record.type)) {
      throw refuse('ERR_STREAM_ORDER', record, `cannot come here: the state is not in order`);
    }
    if (record.type === RecordType.BLOCK || record.type === RecordType.ZERO) this.#beginBlock(record);
    else this.#beginBuffer(record);
  }

  data(bytes: Uint8Array): void {
    if (this.#block === null) {
      this.#buffer.set(bytes, this.#at);
    } else {
      this.#block.bytes.set(bytes, this.#at);
      this.#block.loaded(this.#at, bytes.length);
    }
    this.#at += bytes.length;
  }

  end(record: ParsedRecord): void {
    const { type } = record;
    if (type === RecordType.HEADER) this.#acceptHeader(record);
    else if (type === RecordType.FIELDS) this.#acceptFields(record);
    else if (type === RecordType.END) this.#acceptEnd(record);
    else this.#acceptBlock(record);
  }

  #beginBlock(record: ParsedRecord): void {
    const { offset, length } = record;
    const target = this.#targets[record.block];
    if (target === undefined) {
      throw refuse('ERR_STREAM_MALFORMED', record, `is for block ${record.block} of ${this.#targets.length}`);
    }
    const { name, size } = target.block;
    // The first two also refuse the Infinity that stands for more than 2^53 - 1.
    if (offset % PAGE_SIZE !== 0 || length % PAGE_SIZE !== 0 || length === 0 || length > size - offset) {
      throw refuse(
        'ERR_STREAM_MALFORMED',
        record,
        `has ${length} bytes at ${offset} for block ${name}, which has whole pages up to ${size}`,
      );
    }
    this.#block = target.block;
    this.#at = offset;
  }

  #beginBuffer(record: ParsedRecord): void {
    const { type, block, offset, length } = record;
    const [least, most] = this.#dataLimits(type);
    if (block !== 0 || offset !== 0 || !(length >= least && length <= most)) {
      throw refuse(
        'ERR_STREAM_MALFORMED',
        record,
        `has ${length} bytes at ${offset} of block ${block}, not ${least} to ${most} bytes at 0 of 0`,
      );
    }
    if (type === RecordType.FIELDS) this.#requireCoverage(record);
    this.#block = null;
    this.#buffer = new Uint8Array(length);
    this.#at = 0;
  }

  #dataLimits(type: number): readonly [least: number, most: number] {
    if (type === RecordType.HEADER) return [1, MAX_HEADER_DATA];
    const size =
      type === RecordType.END ? EndData.size : this.#plan.fields.reduce((sum, field) => sum + field.size, 0);
    return [size, size];
  }

  #requireCoverage(record: ParsedRecord): void {
    for (const { block, coverage } of this.#targets) {
      if (coverage.missing !== null) {
        throw refuse(
          'ERR_STREAM_COVERAGE',
          record,
          `comes before byte ${coverage.missing} of block ${block.name} has come at all`,
        );
      }
    }
  }

  #acceptHeader(record: ParsedRecord): void {
    const end = record.at;
    this.#plan = planLoading(decodeImageHeader(this.#buffer, end), this.#image, end);
    this.#targets = this.#plan.blocks.map((block) => ({ block, coverage: new Coverage(block.size) }));
    this.#phase = 'blocks';
  }

  #acceptBlock({ type, block: index, offset, length }: ParsedRecord): void {
    const target = this.#targets[index];
    if (target === undefined) return;
    if (type === RecordType.ZERO) {
      target.block.bytes.fill(0, offset, offset + length);
      target.block.loaded(offset, length);
    }
    target.coverage.add(offset, length);
  }

  #acceptFields(record: ParsedRecord): void {
    this.#fields = this.#buffer;
    for (const [name, value] of this.#values('bool')) {
      if (value.some((byte) => byte > 1)) {
        throw refuse(
          'ERR_STREAM_VALUE',
          record,
          `has a value for ${name} that is neither false (0) nor true (1)`,
        );
      }
    }
    this.#phase = 'end';
  }

  #acceptEnd(record: ParsedRecord): void {
    const { bytes, records } = EndData.read(new DataView(this.#buffer.buffer));
    if (bytes !== record.at || records !== record.index) {
      throw refuse(
        'ERR_STREAM_TOTALS',
        record,
        `counts ${bytes} bytes in ${records} records; ${record.at} in ${record.index} came`,
      );
    }
    try {
      this.#image.loadFields(new Map(this.#values()), this.#plan.versions);
    } catch (cause) {
      throw refusedByDevice(record, cause);
    }
    this.#phase = 'complete';
  }

  /** The values of the fields, or only of those of one type. */
  *#values(type?: 'bool'): Iterable<readonly [name: string, value: Uint8Array]> {
    let at = 0;
    for (const field of this.#plan.fields) {
      if (type === undefined || field.type === type) {
        yield [field.name, this.#fields.subarray(at, at + field.size)];
      }
      at += field.size;
    }
  }
}

function refuse(code: StreamErrorCode, record: ParsedRecord, why: string): StreamError {
  return new StreamError(
    code,
    `${describeRecord(record)} ${why}; reset the device and send the state again`,
    record.at,
  );
}

function refusedByDevice(record: ParsedRecord, cause: unknown): StreamError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new StreamError('ERR_STREAM_VALUE', `the device refuses the state: ${why}`, record.at, {
    cause,
    ...(cause instanceof FerryError ? { errno: cause.errno } : {}),
  });
}
