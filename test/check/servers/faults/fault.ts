import { rawMessage, u32At, u64At, viewOf } from '../../../../src/check/wire/bytes.ts';
import { Errno } from '../../../../src/errors/index.ts';
import type { Fate, Faulty, Link, Passing } from '../fault-proxy.ts';

/** What is behind a fault: `edu` can be made to do DMA, `v1` has a region with capabilities. */
export type FaultyDevice = 'edu' | 'v1';

/** A fault that is planted in a server, and the rules that name it. */
export interface Fault {
  readonly name: string;
  /** The ids of the rules that have to be broken, and no others. */
  readonly breaks: readonly string[];
  /** The device behind it, if the usual one will not do. */
  readonly device?: FaultyDevice;
  /** Made anew for each server; `second` for one that is started while another runs. */
  make(second: boolean): Faulty;
}

/** Which messages a fault is about. */
export type When = (message: Passing, link: Link) => boolean;

/** A message by its command and by u32 values at places of its payload. */
export const at =
  (command: number, places: Readonly<Record<number, number>> = {}): When =>
  (message) =>
    message.command === command &&
    Object.entries(places).every(([place, value]) => u32At(message.payload, Number(place)) === value >>> 0);

/** Both hold. */
export const both =
  (one: When, other: When): When =>
  (message, link) =>
    one(message, link) && other(message, link);

/** A message with a payload of this length. */
export const ofLength =
  (length: number): When =>
  ({ payload }) =>
    payload.length === length;

/** A message with this many descriptors. */
export const withFds =
  (count: number): When =>
  ({ fds }) =>
    fds.length === count;

/** A message of a client in this state. */
export const inState =
  (state: number): When =>
  (_, link) =>
    link.state === state;

/** VERSION whose version data have this in them. */
export const proposing =
  (text: string): When =>
  ({ command, payload }) =>
    command === 1 && Buffer.from(payload).includes(text);

const request =
  (act: (message: Passing, link: Link) => Fate) =>
  (when: When, ...breaks: string[]): Fault => ({
    ...{ name: '', breaks },
    make: () => ({ request: (message, link) => (when(message, link) ? act(message, link) : 'pass') }),
  });

/** Accepts what has to be refused, without doing anything. */
export const accepts = request((message, link) => link.answer(message));
/** Accepts with a payload of zeros. */
export const acceptsWith = (length: number) =>
  request((message, link) => link.answer(message, new Uint8Array(length)));
/** Accepts with the payload of the request. */
export const echoes = request((message, link) => link.answer(message, message.payload));
/** Refuses what has to work. */
export const refuses = request((message, link) => link.refuse(message));
/** Closes the connection. */
export const hangsUp = request((_, link) => {
  return link.hangUp();
});
/** Ends the server. */
export const crashes = request((_, link) => link.proxy.crash());
/** Never answers. */
export const ignores = request(() => 'drop');
/** Leaks a descriptor. */
export const leaks = request((_, link) => link.proxy.leak());

/** Passes the request with something changed in its payload. */
export const takesFor = (change: (payload: Uint8Array, message: Passing) => Uint8Array) =>
  request((message) => rebuilt(message, change(new Uint8Array(message.payload), message)));

/** Changes the payload of the replies to some requests. */
export const answers =
  (change: (payload: Uint8Array, request: Passing, link: Link) => Uint8Array) =>
  (when: When, ...breaks: string[]): Fault => ({
    ...{ name: '', breaks },
    make: () => ({
      reply: (message, asked, link) =>
        (message.flags & 0x20) === 0 && when(asked, link)
          ? rebuilt(message, change(Uint8Array.from(message.payload), asked, link))
          : 'pass',
    }),
  });

/** Sets u32 values at places of the payload. */
export const set =
  (places: Readonly<Record<number, number>>) =>
  (payload: Uint8Array): Uint8Array => {
    for (const [place, value] of Object.entries(places))
      viewOf(payload).setUint32(Number(place), value >>> 0, true);
    return payload;
  };

/** Changes the reply as a whole, header included. */
export const replies =
  (change: (message: Passing, request: Passing, link: Link) => Uint8Array) =>
  (when: When, ...breaks: string[]): Fault => ({
    ...{ name: '', breaks },
    make: () => ({
      reply: (message, asked, link) => (when(asked, link) ? change(message, asked, link) : 'pass'),
    }),
  });

/** A message with another payload. */
export function rebuilt({ command, id, flags, bytes }: Passing, payload: Uint8Array): Uint8Array {
  return rawMessage(command, payload, { id, flags, error: u32At(bytes, 12) });
}

/** A fault that takes more than one hook. */
export const custom = (make: (second: boolean) => Faulty, ...breaks: string[]): Fault => ({
  name: '',
  breaks,
  make,
});

/** Gives the faults of an area their names. */
export function named(faults: Readonly<Record<string, Fault>>, device?: FaultyDevice): readonly Fault[] {
  return Object.entries(faults).map(([name, fault]) => ({
    ...fault,
    name,
    ...(device === undefined ? {} : { device }),
  }));
}

/** A payload with one byte that is another. */
export const flipped = (payload: Uint8Array): Uint8Array => {
  payload[20] = (payload[20] ?? 0) ^ 0xff;
  return payload;
};

export { Errno, u32At, u64At, viewOf };
