import { Command, FEATURE_MASK, Feature, FeatureFlag } from '../protocol/index.ts';
import { RESET_STATE, stateName } from '../states/index.ts';
import { allNodes, type DecodedMessage } from './decode/index.ts';

/** A change of the migration state that a message tells of. */
export interface StateChange {
  /** The state before, as far as the trace has shown; null when it has not. */
  readonly from: string | null;
  readonly to: string;
  /** How it is known. `failed`: a change to `to` was refused, and the state is not known now. */
  readonly by: 'set' | 'seen' | 'reset' | 'failed';
}

/** What a device's state is, as its messages tell. All connections of a trace lead to the same device. */
export class StateWatch {
  #state: string | null = null;

  /** Looks at a message, and at the request that it answers. */
  see(message: DecodedMessage, request: DecodedMessage | null): StateChange | null {
    if (message.kind !== 'reply' && message.kind !== 'error') return null;
    const { command } = message.header;
    if (command === Command.DEVICE_RESET) {
      return message.kind === 'reply' ? this.#now(stateName(RESET_STATE), 'reset') : null;
    }
    if (command !== Command.DEVICE_FEATURE) return null;
    return message.kind === 'error' ? this.#refused(request) : this.#answered(message);
  }

  #answered(message: DecodedMessage): StateChange | null {
    const asked = stateOperation(message);
    if (asked === null) return null;
    return this.#now(asked.state, asked.set ? 'set' : 'seen');
  }

  #refused(request: DecodedMessage | null): StateChange | null {
    const asked = request === null ? null : stateOperation(request);
    if (asked === null || !asked.set) return null;
    const from = this.#state;
    this.#state = null;
    return { from, to: asked.state, by: 'failed' };
  }

  /** A state that was only seen is a change when another was known before, or none. */
  #now(to: string, by: 'set' | 'seen' | 'reset'): StateChange | null {
    const from = this.#state;
    this.#state = to;
    // Most resets are of devices that nobody migrates.
    if (by === 'reset' && from === null) return null;
    return from === to && by !== 'set' ? null : { from, to, by };
  }
}

/** What a DEVICE_FEATURE message says of the migration state; null when it is about something else. */
function stateOperation({
  fields,
}: DecodedMessage): { readonly state: string; readonly set: boolean } | null {
  let flags = 0;
  for (const node of allNodes(fields)) {
    if (node.name === 'flags' && typeof node.value === 'number') flags = node.value;
    if ((flags & FEATURE_MASK) !== Feature.MIG_DEVICE_STATE) continue;
    if (node.name === 'device_state') return { state: node.text, set: (flags & FeatureFlag.SET) !== 0 };
  }
  return null;
}
