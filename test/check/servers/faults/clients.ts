import { rawMessage } from '../../../../src/check/wire/bytes.ts';
import type { Link } from '../fault-proxy.ts';
import { at, both, crashes, custom, leaks, named, ofLength, replies, u32At, withFds } from './fault.ts';

const only = ({ commands }: Link, ...expected: number[]): boolean =>
  commands.length === expected.length && commands.every((command, index) => command === expected[index]);

/** Faults in what happens when clients go away. */
export const disconnectFaults = named({
  'takes five clients': custom(() => {
    let clients = 0;
    return {
      left: (link) => {
        clients = only(link, 1, 9) ? clients + 1 : 0;
      },
      request: (message, link) => (message.command === 1 && clients >= 5 ? link.refuse(message) : 'pass'),
    };
  }, 'disconnect.again'),
  'keeps the maps of who has gone': custom(() => {
    let kept = false;
    return {
      request: (message, link) => {
        const mine = message.command === 2 && u32At(message.payload, 24) === 0x4000 && message.fds.length > 0;
        if (message.command === 3) link.note('unmapped');
        if (mine) link.note('mapped');
        return mine && kept ? link.refuse(message, 17) : 'pass';
      },
      left: (link) => {
        kept = link.noted('mapped') > link.noted('unmapped');
      },
    };
  }, 'disconnect.drops-maps'),
  'crashes at half a header': custom(
    () => ({ left: ({ pending, proxy }) => void (pending.length === 9 ? proxy.crash() : null) }),
    'disconnect.mid-header',
  ),
  'crashes at half a body': custom(
    () => ({
      left: ({ pending, pendingFds, proxy, commands }) =>
        void (pending.length === 20 && pendingFds === 0 && commands.length > 0 ? proxy.crash() : null),
    }),
    'disconnect.mid-body',
  ),
  'crashes at a client that says nothing': custom(
    () => ({
      chunk: (_, link) => link.note('said'),
      left: (link) => void (link.noted('said') === 0 ? link.proxy.crash() : null),
    }),
    'disconnect.before-version',
    'hostile.many-connections',
  ),
  'crashes at SIGPIPE': custom(
    () => ({
      left: ({ commands, proxy }) =>
        void (commands.length > 150 && commands.at(-1) === 4 ? proxy.crash() : null),
    }),
    'disconnect.unanswered',
  ),
});

const leaksWhenLeft = (when: (link: Link) => boolean, ...breaks: string[]) =>
  custom(() => ({ left: (link) => void (when(link) ? link.proxy.leak() : null) }), ...breaks);

/** What is kept, so that it can't be collected. */
const hoard: Uint8Array[] = [];

/** Faults in what is given back. */
export const leaksFaults = named({
  'leaks connections': leaksWhenLeft(
    (link) => only(link, 1) && link.pending.length === 0,
    'leaks.connections',
  ),
  'leaks what was unmapped': leaks(at(3), 'leaks.unmapped'),
  'leaks maps of who has gone': leaksWhenLeft((link) => only(link, 1, 2), 'leaks.maps'),
  'leaks eventfds': leaksWhenLeft((link) => only(link, 1, 8), 'leaks.eventfds'),
  'leaks what it refuses': leaks(both(at(2, { 0: 31 }), withFds(1)), 'leaks.refused'),
  'leaks what it did not ask for': leaks(both(at(4), withFds(1)), 'leaks.stray'),
  'leaks half messages': leaksWhenLeft(
    ({ pending, pendingFds }) => pending.length > 0 && pendingFds > 0,
    'leaks.half-message',
  ),
  'leaks memory': custom(() => {
    hoard.length = 0;
    return {
      left: (link) => void (only(link, 1, 2, 9) ? hoard.push(new Uint8Array(4 * 1024 * 1024).fill(1)) : null),
    };
  }, 'leaks.memory'),
});

/** Faults in what a server makes of clients that err. */
export const hostileFaults = named({
  'crashes at 5 bytes of DMA_UNMAP': crashes(
    both(at(3, { 0: 0xffff_ffff }), ofLength(5)),
    'hostile.short-payloads',
  ),
  'crashes at a huge argsz of GET_IRQ_INFO': crashes(
    both(({ command, payload }) => command === 7 && u32At(payload, 0) > 0x10_0000, ofLength(16)),
    'hostile.spoilt-messages',
  ),
  'crashes at noise': custom(
    () => ({
      impossible: (_, link) => {
        if (link.commands.length === 0) link.proxy.crash();
        return true;
      },
    }),
    'hostile.random-bytes',
    'framing.size-of-4-gib',
    'framing.size-below-header',
  ),
  'crashes at 250 descriptors': crashes(({ fds }) => fds.length > 100, 'hostile.many-descriptors'),
  'keeps every reply that nobody reads': custom(
    () => ({
      request: (message, link) =>
        at(9, { 12: 256 })(message, link) && link.count('reads') > 150 ? link.proxy.crash() : 'pass',
    }),
    'hostile.never-reads',
  ),
  'asserts that it has DMA': crashes(
    both(at(16, { 4: 0x2_0006, 16: 0 }), ofLength(32)),
    'hostile.no-logging',
  ),
  'reads around a register': crashes(at(10, { 0: 0x31, 8: 7, 12: 1 }), 'hostile.configuration-bytes'),
  'replies with as much as there is room for': replies(({ id, payload }) =>
    rawMessage(5, Buffer.concat([payload, new Uint8Array(70_000)]), { id, flags: 1 }),
  )(at(5, { 0: 0xffff_fff0, 8: 7 }), 'hostile.huge-argsz'),
});

/** Faults in how long things take. */
export const timeoutsFaults = named({
  'waits for the first words of its only client': custom(
    () => ({
      request: (message, link) => {
        const silent = [...link.proxy.links].some((other) => other !== link && other.commands.length === 0);
        return message.command === 1 && silent ? 'drop' : 'pass';
      },
      serverLeft: ({ commands }) => commands.length === 0,
    }),
    'timeouts.silent-client',
    'timeouts.half-version',
  ),
  'is slow to read': custom(
    () => ({
      request: (message, link) => {
        const same =
          at(9, { 0: 0, 8: 7, 12: 4 })(message, link) && link.commands.length === link.count('same') + 1;
        if (!same || link.noted('same') !== 9) return 'pass';
        setTimeout(() => link.pass(message.bytes), 1100);
        return 'drop';
      },
    }),
    'timeouts.register',
  ),
});
