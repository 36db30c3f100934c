import { HEADER_SIZE } from '../../protocol/index.ts';
import { field } from '../json-value.ts';
import type { Greeting } from '../socket-facts.ts';

/** Bytes of the two version numbers, which precede the JSON. */
const VERSION_NUMBERS = 4;

/** The reply to VERSION as it came. It has been accepted by a client, and so has the form of one. */
export function readGreeting(message: Uint8Array): Greeting {
  const json = Buffer.from(message.subarray(HEADER_SIZE + VERSION_NUMBERS)).toString('utf8');
  return { bytes: message.length, capabilities: capabilitiesOf(json.replace(/\0.*$/s, '')) };
}

function capabilitiesOf(json: string): unknown {
  try {
    return field(JSON.parse(json), 'capabilities');
  } catch {
    return undefined;
  }
}
