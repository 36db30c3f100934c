import {
  Command,
  FEATURE_MASK,
  Feature,
  FeatureFlag,
  littleEndian,
  V1_REGION_SUBTYPE,
  V1_REGION_TYPE,
  V1MigrationInfo,
} from '../protocol/index.ts';
import { RESET_STATE, stateName, v1Name } from '../states/index.ts';
import { allNodes, type DecodedMessage, type FieldNode } from './decode/index.ts';

/** A change of the migration state that a message tells of. */
export interface StateChange {
  /** The state before, as far as the trace has shown; null when it has not. */
  readonly from: string | null;
  readonly to: string;
  /** How it is known. `failed`: a change to `to` was refused, and the state is not known now. */
  readonly by: 'set' | 'seen' | 'reset' | 'failed';
}

/** What a message says of the state. */
interface Said {
  readonly state: string;
  readonly set: boolean;
}

/**
 * What a device's state is, as its messages tell: MIG_DEVICE_STATE of v2, and device_state in the migration region of v1.
 * All connections of a trace lead to the same device.
 */
export class StateWatch {
  #state: string | null = null;
  /** The migration region of v1, where one has been seen. */
  #v1Region: number | null = null;

  /** Looks at a message, and at the request that it answers. */
  see(message: DecodedMessage, request: DecodedMessage | null): StateChange | null {
    if (message.kind !== 'reply' && message.kind !== 'error') return null;
    switch (message.header.command) {
      case Command.DEVICE_RESET:
        return message.kind === 'reply' ? this.#now(stateName(RESET_STATE), 'reset') : null;
      case Command.DEVICE_GET_REGION_INFO:
        this.#lookForV1(message);
        return null;
      case Command.DEVICE_FEATURE:
        return this.#judge(message, ofFeature(message), request === null ? null : ofFeature(request));
      case Command.REGION_READ:
        return this.#judge(message, this.#ofRegion(message, false), null);
      case Command.REGION_WRITE: {
        const said = request === null ? null : this.#ofRegion(request, true);
        return this.#judge(message, said, said);
      }
      default:
        return null;
    }
  }

  /** `done`: what a reply without error says; `asked`: what was asked for. */
  #judge({ kind }: DecodedMessage, done: Said | null, asked: Said | null): StateChange | null {
    if (kind === 'error') return asked?.set === true ? this.#refused(asked.state) : null;
    return done === null ? null : this.#now(done.state, done.set ? 'set' : 'seen');
  }

  #refused(to: string): StateChange {
    const from = this.#state;
    this.#state = null;
    return { from, to, by: 'failed' };
  }

  /** A state that was only seen is a change when another was known before, or none. */
  #now(to: string, by: 'set' | 'seen' | 'reset'): StateChange | null {
    const from = this.#state;
    this.#state = to;
    // Most resets are of devices that nobody migrates.
    if (by === 'reset' && from === null) return null;
    return from === to && by !== 'set' ? null : { from, to, by };
  }

  #lookForV1({ fields }: DecodedMessage): void {
    const type = number(fields, 'type');
    if (type !== V1_REGION_TYPE || number(fields, 'subtype') !== V1_REGION_SUBTYPE) return;
    this.#v1Region = number(fields, 'index');
  }

  /** An access to device_state of v1, which has its data. */
  #ofRegion({ fields }: DecodedMessage, set: boolean): Said | null {
    if (this.#v1Region === null || number(fields, 'region') !== this.#v1Region) return null;
    const data = fields.find(({ name }) => name === 'data')?.value;
    if (number(fields, 'offset') !== V1MigrationInfo.at.deviceState || !(data instanceof Uint8Array))
      return null;
    if (data.length !== V1MigrationInfo.declared.deviceState.size) return null;
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    return { state: v1Name(view.getUint32(0, littleEndian)), set };
  }
}

/** The first number with this name; null without one. */
function number(fields: readonly FieldNode[], name: string): number | null {
  for (const node of allNodes(fields)) {
    if (node.name === name && (typeof node.value === 'number' || typeof node.value === 'bigint')) {
      return Number(node.value);
    }
  }
  return null;
}

/** What a DEVICE_FEATURE message says of the migration state; null when it is about something else. */
function ofFeature({ fields }: DecodedMessage): Said | null {
  const flags = number(fields, 'flags') ?? 0;
  if ((flags & FEATURE_MASK) !== Feature.MIG_DEVICE_STATE) return null;
  const state = fields.find(({ name }) => name === 'device_state');
  return state === undefined ? null : { state: state.text, set: (flags & FeatureFlag.SET) !== 0 };
}
