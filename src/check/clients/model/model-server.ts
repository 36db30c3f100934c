import { Errno } from '../../../errors/index.ts';
import {
  Command,
  DeviceInfoFlag,
  Feature,
  FeatureFlag,
  littleEndian,
  PCI_NUM_IRQS,
  RegionInfoFlag,
} from '../../../protocol/index.ts';
import { fields, joined, u32At, u64At, versionPayload, viewOf } from '../../wire/bytes.ts';
import type { Offers } from '../script.ts';
import { MigrationModel, MODEL_FLAGS } from './migration-model.ts';
import { IRQS, PciFunction, REGION_COUNT, REGION_SIZES } from './pci-function.ts';

/** What a server says to a command: an errno (0: none) and a payload. */
export interface Answer {
  readonly error: number;
  readonly payload: Uint8Array;
}

/** What a client may send. */
export interface Limits {
  readonly maxMsgFds: number;
  /** Bytes. */
  readonly maxDataXferSize: number;
}

/** What the model names in VERSION unless a script says otherwise. */
export const MODEL_LIMITS: Limits = { maxMsgFds: 16, maxDataXferSize: 1_048_576 };

const { EINVAL, ENOTTY, ENOSYS, ENOENT } = Errno;
const NOTHING = new Uint8Array(0);
const PAGE = 4096n;

/** What libvfio-user serves while its device is stopped; it refuses everything else. */
const SERVED_WHEN_STOPPED: ReadonlySet<number> = new Set([
  Command.REGION_READ,
  Command.REGION_WRITE,
  Command.DEVICE_FEATURE,
  Command.MIG_DATA_READ,
]);

const done = (payload: Uint8Array = NOTHING): Answer => ({ error: 0, payload });
const refused = (error: number = EINVAL): Answer => ({ error, payload: NOTHING });

/** A device behind a socket that answers as the specification says; what a script changes is changed elsewhere. */
export class ModelServer {
  readonly migration = new MigrationModel();
  readonly #device = new PciFunction();
  readonly #offers: Offers;
  #strict: boolean;

  constructor(offers: Offers = {}) {
    this.#offers = offers;
    this.#strict = offers.leftInStopCopy === true;
    if (this.#strict) this.migration.go(3);
  }

  /** What a client may send: as it was told, or would be. */
  get limits(): Limits {
    return { ...MODEL_LIMITS, ...this.#offers };
  }

  /** The answer to a command; what it does is done. */
  answer(command: number, payload: Uint8Array): Answer {
    const { stopped } = this.migration;
    this.#strict &&= stopped;
    if (this.#strict && command !== Command.VERSION && !SERVED_WHEN_STOPPED.has(command)) return refused();
    const answers = this.#answers[command];
    return answers === undefined ? refused(ENOSYS) : answers(payload);
  }

  readonly #answers: Readonly<Record<number, (payload: Uint8Array) => Answer>> = {
    [Command.VERSION]: (payload) => this.#version(payload),
    [Command.DMA_MAP]: () => done(),
    [Command.DMA_UNMAP]: (payload) => done(payload.slice(0, 24)),
    [Command.DEVICE_GET_INFO]: () =>
      done(fields(16, DeviceInfoFlag.RESET | DeviceInfoFlag.PCI, REGION_COUNT, PCI_NUM_IRQS)),
    [Command.DEVICE_GET_REGION_INFO]: (payload) => this.#regionInfo(u32At(payload, 8)),
    [Command.DEVICE_GET_REGION_IO_FDS]: (payload) => done(fields(16, 0, u32At(payload, 8), 0)),
    [Command.DEVICE_GET_IRQ_INFO]: (payload) => irqInfo(u32At(payload, 8)),
    [Command.DEVICE_SET_IRQS]: () => done(),
    [Command.REGION_READ]: (payload) => this.#read(payload),
    [Command.REGION_WRITE]: (payload) => this.#write(payload),
    [Command.DEVICE_RESET]: () => {
      this.migration.reset();
      return done();
    },
    [Command.DEVICE_FEATURE]: (payload) => this.#feature(payload),
    [Command.MIG_DATA_READ]: (payload) => this.#dataRead(u32At(payload, 4)),
    [Command.MIG_DATA_WRITE]: (payload) =>
      this.migration.write(Math.max(0, payload.length - 8)) ? done() : refused(),
  };

  #version(payload: Uint8Array): Answer {
    if (payload.length < 4 || viewOf(payload).getUint16(0, littleEndian) !== 0) return refused();
    const { maxMsgFds, maxDataXferSize } = this.limits;
    const named = { max_msg_fds: maxMsgFds, max_data_xfer_size: maxDataXferSize };
    // QEMU takes no reply that is longer than its request, and a client may send no JSON at all.
    return done(versionPayload(payload.length === 4 ? null : JSON.stringify({ capabilities: named })));
  }

  #regionInfo(index: number): Answer {
    if (index >= REGION_COUNT) return refused();
    const size = REGION_SIZES.get(index) ?? 0;
    const flags = size === 0 ? 0 : RegionInfoFlag.READ | RegionInfoFlag.WRITE;
    return done(fields(32, flags, index, 0, BigInt(size), 0n));
  }

  #read(payload: Uint8Array): Answer {
    const count = u32At(payload, 12);
    if (count > this.limits.maxDataXferSize) return refused();
    const data = this.#device.read(u32At(payload, 8), u64At(payload, 0), count);
    return data === null ? refused() : done(joined(payload.subarray(0, 16), data));
  }

  #write(payload: Uint8Array): Answer {
    const written = this.#device.write(u32At(payload, 8), u64At(payload, 0), payload.subarray(16));
    return written ? done(payload.slice(0, 16)) : refused();
  }

  #feature(payload: Uint8Array): Answer {
    const flags = u32At(payload, 4);
    const feature = flags & 0xffff;
    if ((flags & FeatureFlag.PROBE) !== 0)
      return KNOWN.has(feature) ? done(payload.slice()) : refused(ENOTTY);
    const head = fields(u32At(payload, 0), flags);
    if ((flags & FeatureFlag.GET) !== 0) return this.#getFeature(feature, head, payload);
    return this.#setFeature(feature, payload)
      ? done(payload.slice())
      : refused(KNOWN.has(feature) ? EINVAL : ENOTTY);
  }

  #getFeature(feature: number, head: Uint8Array, payload: Uint8Array): Answer {
    switch (feature) {
      case Feature.MIGRATION:
        return done(joined(head, fields(BigInt(MODEL_FLAGS))));
      case Feature.MIG_DEVICE_STATE:
        return done(joined(head, fields(this.migration.state, 0xffff_ffff)));
      case Feature.DMA_LOGGING_REPORT:
        return this.#report(head, payload);
      default:
        return refused(KNOWN.has(feature) ? EINVAL : ENOTTY);
    }
  }

  #report(head: Uint8Array, payload: Uint8Array): Answer {
    const [length, pageSize] = [u64At(payload, 16), u64At(payload, 24)];
    if (!this.migration.logging || pageSize < PAGE || length / pageSize > 1n << 28n) return refused();
    const words = Number((length / pageSize + 63n) / 64n);
    return words > 1 << 17
      ? refused(ENOENT)
      : done(joined(head, payload.slice(8, 32), new Uint8Array(words * 8)));
  }

  #setFeature(feature: number, payload: Uint8Array): boolean {
    switch (feature) {
      case Feature.MIG_DEVICE_STATE:
        return this.migration.go(u32At(payload, 8));
      case Feature.DMA_LOGGING_START:
        this.migration.logging = true;
        return true;
      case Feature.DMA_LOGGING_STOP:
        this.migration.logging = false;
        return true;
      default:
        return false;
    }
  }

  #dataRead(size: number): Answer {
    const data = size > this.limits.maxDataXferSize ? null : this.migration.read(size);
    return data === null ? refused() : done(joined(fields(8 + data.length, data.length), data));
  }
}

const KNOWN: ReadonlySet<number> = new Set([
  Feature.MIGRATION,
  Feature.MIG_DEVICE_STATE,
  Feature.DMA_LOGGING_START,
  Feature.DMA_LOGGING_STOP,
  Feature.DMA_LOGGING_REPORT,
]);

function irqInfo(index: number): Answer {
  const irq = IRQS[index];
  return irq === undefined ? refused() : done(fields(16, irq.flags, index, irq.count));
}
