import type { Command } from './command.ts';
import { FEATURES, type Feature, featureIndex } from './feature-table.ts';
import { ALL_NAMESPACES, IO_QUEUES, NAMESPACE, VECTORS } from './limits.ts';
import { FeatureId } from './opcodes.ts';
import type { NvmeState } from './state.ts';
import { Status } from './status.ts';

/** Which value Get Features asks for (SEL, NVM Express 1.4, figure 274). */
const Select = { CURRENT: 0, DEFAULT: 1, SAVED: 2, CAPABILITIES: 3 } as const;

/** Bits of what a feature can: it can be changed, it belongs to a namespace. None can be saved. */
const CHANGEABLE = 0x4;
const PER_NAMESPACE = 0x2;

/** Save (SV) in dword 10 of Set Features. */
const SAVE = 2 ** 31;

/** Temperature threshold: the sensor in bits 16 to 19, of which only the composite one exists, or all. */
const ALL_SENSORS = 0xf;

/** Get Features and Set Features. A feature that the controller lacks is an invalid field. */
export class Features {
  readonly #state: NvmeState;
  readonly #volatileCache: boolean;
  readonly #queuesExist: () => boolean;

  constructor(state: NvmeState, volatileCache: boolean, queuesExist: () => boolean) {
    this.#state = state;
    this.#volatileCache = volatileCache;
    this.#queuesExist = queuesExist;
  }

  /** The current value of a feature. */
  value(id: number): number {
    return this.#state.features[featureIndex(id)] ?? 0;
  }

  /** How many I/O queues of each kind the guest may create. */
  get queueLimit(): { readonly submission: number; readonly completion: number } {
    const value = this.value(FeatureId.NUMBER_OF_QUEUES);
    return { submission: (value & 0xffff) + 1, completion: (value >>> 16) + 1 };
  }

  /** Controller reset. */
  reset(): void {
    this.#state.features.set(FEATURES.map(({ initial }) => initial));
    this.#state.uncoalesced.fill(0);
  }

  get(command: Command): number {
    const feature = this.#find(command.dword10 & 0xff);
    if (feature === null) return Status.INVALID_FIELD;
    if (!isNamespace(command.namespace)) return Status.INVALID_NAMESPACE;
    switch ((command.dword10 >>> 8) & 7) {
      case Select.CURRENT:
        return this.#current(feature, command);
      case Select.DEFAULT:
      case Select.SAVED:
        command.result = feature.initial;
        return Status.SUCCESS;
      case Select.CAPABILITIES:
        command.result = CHANGEABLE | (feature.perNamespace ? PER_NAMESPACE : 0);
        return Status.SUCCESS;
      default:
        return Status.INVALID_FIELD;
    }
  }

  set(command: Command): number {
    const feature = this.#find(command.dword10 & 0xff);
    if (feature === null) return Status.INVALID_FIELD;
    if (command.dword10 >= SAVE) return Status.FEATURE_NOT_SAVEABLE;
    if (!isNamespace(command.namespace)) return Status.INVALID_NAMESPACE;
    if (command.namespace === NAMESPACE && !feature.perNamespace)
      return Status.FEATURE_NOT_NAMESPACE_SPECIFIC;
    const value = command.dword11 & feature.mask;
    switch (feature.id) {
      case FeatureId.POWER_MANAGEMENT:
        return value === 0 ? Status.SUCCESS : Status.INVALID_FIELD;
      case FeatureId.TEMPERATURE_THRESHOLD:
        return this.#setThreshold(value);
      case FeatureId.NUMBER_OF_QUEUES:
        return this.#setQueues(command);
      case FeatureId.INTERRUPT_VECTOR_CONFIGURATION:
        return this.#setVector(value);
      default:
        return this.#store(feature.id, value);
    }
  }

  #find(id: number): Feature | null {
    if (id === FeatureId.VOLATILE_WRITE_CACHE && !this.#volatileCache) return null;
    return FEATURES[featureIndex(id)] ?? null;
  }

  #current({ id }: Feature, command: Command): number {
    command.result = this.value(id);
    if (id !== FeatureId.INTERRUPT_VECTOR_CONFIGURATION) return Status.SUCCESS;
    const vector = command.dword11 & 0xffff;
    command.result = vector | ((this.#state.uncoalesced[vector] ?? 0) << 16);
    return vector < VECTORS ? Status.SUCCESS : Status.INVALID_FIELD;
  }

  #store(id: number, value: number): number {
    this.#state.features[featureIndex(id)] = value;
    return Status.SUCCESS;
  }

  #setThreshold(value: number): number {
    const sensor = (value >>> 16) & 0xf;
    if (sensor !== 0 && sensor !== ALL_SENSORS) return Status.INVALID_FIELD;
    // The lower threshold is never crossed either; only the upper one is remembered.
    return value >>> 20 === 0 ? this.#store(FeatureId.TEMPERATURE_THRESHOLD, value & 0xffff) : Status.SUCCESS;
  }

  /** Only before queues are created (section 5.21.1.7). Everybody gets what was asked for, up to the limit. */
  #setQueues(command: Command): number {
    if (this.#queuesExist()) return Status.COMMAND_SEQUENCE_ERROR;
    const submission = command.dword11 & 0xffff;
    const completion = command.dword11 >>> 16;
    if (submission === 0xffff || completion === 0xffff) return Status.INVALID_FIELD;
    const allocated = (Math.min(completion, IO_QUEUES - 1) << 16) | Math.min(submission, IO_QUEUES - 1);
    command.result = allocated;
    return this.#store(FeatureId.NUMBER_OF_QUEUES, allocated);
  }

  #setVector(value: number): number {
    const vector = value & 0xffff;
    if (vector >= VECTORS) return Status.INVALID_FIELD;
    this.#state.uncoalesced[vector] = value >>> 16;
    return Status.SUCCESS;
  }
}

/** Whether a command that need not name a namespace names none that does not exist. */
function isNamespace(namespace: number): boolean {
  return namespace === 0 || namespace === NAMESPACE || namespace === ALL_NAMESPACES;
}
