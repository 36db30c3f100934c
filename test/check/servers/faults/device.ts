import {
  accepts,
  acceptsWith,
  answers,
  at,
  both,
  custom,
  hangsUp,
  named,
  ofLength,
  refuses,
  set,
  takesFor,
  u32At,
  withFds,
} from './fault.ts';

const CONFIG = 7;
const LINE = 0x3c;
/** DATA and ACTION flags of SET_IRQS. */
const [NONE_TRIGGER, BOOL_TRIGGER, FD_TRIGGER] = [0x21, 0x22, 0x24];
const MSIX = 2;

/** Faults in what a server says of its device and regions. */
export const infoFaults = named({
  'is no PCI device': answers((payload) => set({ 4: u32At(payload, 4) & ~2 })(payload))(at(4), 'info.device'),
  'has two types of interrupt': answers(set({ 12: 2 }))(at(4), 'info.qemu-counts', 'irq.no-such-type'),
  'has no room for more than it says': refuses(at(4, { 0: 4096 }), 'info.larger-argsz'),
  'ignores a small argsz': acceptsWith(16)(at(4, { 0: 15 }), 'info.small-argsz'),
  'tells of another region': answers(set({ 8: 2 }))(at(5, { 0: 32, 8: 3 }), 'info.each-region'),
  'looks behind its table of regions': acceptsWith(32)(at(5, { 8: 0x7fff_ffff }), 'info.no-such-region'),
  'has a configuration space that can’t be written': answers(set({ 4: 1 }))(
    at(5, { 0: 32, 8: CONFIG }),
    'info.config-region',
  ),
  'forgets the descriptor of a region': custom(
    () => ({
      reply: (message, { command }, link) => {
        if (command !== 5 || message.fds.length === 0) return 'pass';
        link.say(message.bytes);
        return 'drop';
      },
    }),
    'info.mmap-descriptor',
  ),
  'reads other memory than it maps': answers(set({ 16: 0xdead }))(
    at(9, { 8: 2, 12: 64 }),
    'info.mmap-same-memory',
  ),
  'offers doorbells outside of their region': answers((payload) =>
    payload.length > 16 ? set({ 16: 0xffff_f000 })(payload) : payload,
  )(at(6), 'info.io-fds'),
  'ignores flags of GET_REGION_IO_FDS': acceptsWith(16)(at(6, { 4: 1 }), 'info.io-fds-refused'),
});

/** Faults in the capabilities of regions. */
export const capabilityFaults = named(
  {
    'sends capabilities unasked': answers((payload) =>
      u32At(payload, 0) > 32 ? Buffer.concat([payload, new Uint8Array(16)]) : payload,
    )(at(5, { 0: 32 }), 'info.capabilities-grow'),
    'has a chain of capabilities that leads into itself': answers((payload) =>
      payload.length > 48 ? set({ 36: 32 })(payload) : payload,
    )(({ command, payload }) => command === 5 && u32At(payload, 0) > 32, 'info.capability-chain'),
  },
  'v1',
);

/** Faults in accesses to regions. */
export const regionFaults = named({
  'tells another offset': answers(set({ 0: 4 }))(at(9, { 0: 2, 8: CONFIG, 12: 2 }), 'region.read-echo'),
  'reads single bytes wrong': answers((payload) => {
    payload[16] = (payload[16] ?? 0) ^ 1;
    return payload;
  })(at(9, { 0: 5, 8: CONFIG, 12: 1 }), 'region.read-widths'),
  'reads no more than 64 bytes': refuses(
    both(at(9, { 0: 0, 8: CONFIG }), ({ payload }) => u32At(payload, 12) >= 256),
    'region.whole-config',
  ),
  'answers a read of nothing with nothing': answers(() => new Uint8Array())(
    at(9, { 12: 0 }),
    'region.count-0',
  ),
  'reads regions that are not there': acceptsWith(20)(at(9, { 8: 0xffff_ffff }), 'region.no-such-region'),
  'reads behind a region': acceptsWith(20)(at(9, { 0: 0x1000, 8: 0, 12: 4 }), 'region.behind-the-end'),
  'lets an offset wrap': acceptsWith(24)(at(9, { 0: 0, 4: 0x8000_0000 }), 'region.offset-wraps'),
  'reads as much as is asked for': acceptsWith(16)(at(9, { 12: 0xffff_fff0 }), 'region.too-much'),
  'believes the count of a write': acceptsWith(16)(
    both(at(10, { 0: LINE, 12: 1 }), ofLength(20)),
    'region.malformed',
  ),
  'answers a write with nothing': answers(() => new Uint8Array())(
    both(at(10, { 0: LINE }), ({ payload }) => payload[16] === 0x0a),
    'region.write-read',
  ),
  'loses posted writes': custom(
    () => ({ request: ({ flags, command }) => (command === 10 && (flags & 0x10) !== 0 ? 'drop' : 'pass') }),
    'region.posted-write',
  ),
  'does not size BARs': acceptsWith(16)(at(10, { 0: 0x10, 8: CONFIG, 16: 0xffff_ffff }), 'region.bar-sizing'),
  'counts writes wrong': answers(set({ 0: 1 }))(at(15, { 0: 2 }), 'region.write-multi'),
  'believes a count of writes': acceptsWith(8)(
    at(15, { 0: 0, 4: 0x1000_0000 }),
    'region.write-multi-malformed',
  ),
  'keeps writes from the mapping': acceptsWith(16)(
    at(10, { 8: 2, 16: 0x1357_9bdf }),
    'region.mapping-writes',
  ),
});

/** Faults in interrupts. */
export const irqFaults = named({
  'tells of another type of interrupt': answers(set({ 8: 2 }))(at(7, { 8: 3 }), 'irq.each-type'),
  'looks behind its table of types': accepts(at(8, { 8: 0x8000_0000 }), 'irq.no-such-type'),
  'does not trigger two at once': accepts(at(8, { 4: NONE_TRIGGER, 8: MSIX, 12: 0, 16: 2 }), 'irq.trigger'),
  'takes booleans for a formality': takesFor((payload) => {
    payload.fill(1, 20);
    return payload;
  })(at(8, { 4: BOOL_TRIGGER, 16: 2 }), 'irq.trigger-bool'),
  'keeps the old eventfd': custom(
    () => ({
      request: (message, link) => {
        if (message.command !== 8) return 'pass';
        const vector = `vector ${u32At(message.payload, 8)}`;
        if (u32At(message.payload, 16) === 0) link.note(vector, 0);
        // What is wrong with a request is for other faults.
        if (u32At(message.payload, 4) !== FD_TRIGGER || message.fds.length !== 1) return 'pass';
        return link.count(vector) > 1 ? link.answer(message) : 'pass';
      },
    }),
    'irq.replace',
  ),
  'does not disable': accepts(
    both(at(8, { 0: 20, 4: NONE_TRIGGER, 12: 0, 16: 0 }), ofLength(20)),
    'irq.disable',
  ),
  'takes back nothing behind vector 0': accepts(
    both(at(8, { 4: FD_TRIGGER, 12: 1 }), withFds(0)),
    'irq.take-back',
  ),
  'wants descriptors for MSI-X': refuses(
    both(at(8, { 4: FD_TRIGGER, 8: MSIX, 12: 0, 16: 1 }), withFds(0)),
    'irq.empty-enable',
  ),
  'does not unmask INTx': refuses(at(8, { 4: 0x11, 8: 0 }), 'irq.unmask-intx', 'irq.maskable'),
  'does not mask what it says': refuses(at(8, { 4: 0x09, 8: MSIX }), 'irq.maskable'),
  'takes two kinds of data': accepts(at(8, { 4: 0x23 }), 'irq.flags-refused'),
  'lets a range of vectors wrap': accepts(at(8, { 12: 0xffff_ffff }), 'irq.range-refused'),
  'believes a small argsz': accepts(at(8, { 0: 19 }), 'irq.data-refused'),
  'takes descriptors for nothing': accepts(both(at(8, { 4: NONE_TRIGGER }), withFds(1)), 'irq.fds-refused'),
});

/** Faults in how guest memory is offered and taken back. */
export const dmaFaults = named({
  'answers DMA_MAP with a payload': answers(() => new Uint8Array(4))(
    both(at(2, { 24: 0x4000 }), withFds(1)),
    'dma.map-with-fd',
  ),
  'wants a descriptor for ROMs': refuses(both(at(2, { 4: 1 }), withFds(0)), 'dma.map-without-fd'),
  'does not say what it has unmapped': answers(() => new Uint8Array())(
    at(3, { 16: 0x2000 }),
    'dma.unmap-echo',
  ),
  'has another errno for what exists': custom(
    () => ({
      reply: (message, asked, link) =>
        u32At(message.bytes, 12) === 17 && asked.command === 2 ? link.refuse(asked) : 'pass',
    }),
    'dma.map-existing',
  ),
  'maps around what is mapped': accepts(at(2, { 16: 0xf_f000, 24: 0x8000 }), 'dma.map-overlapping'),
  'does not map again': custom(
    () => ({
      request: (message, link) => {
        if (message.command === 3) link.note('unmapped');
        const again = message.command === 2 && message.fds.length > 0 && link.noted('unmapped') > 0;
        return again ? link.refuse(message, 17) : 'pass';
      },
    }),
    'dma.map-again',
  ),
  'unmaps what is not mapped': accepts(at(3, { 4: 0, 8: 0x100_0000 }), 'dma.unmap-unknown'),
  'does not unmap all': refuses(at(3, { 4: 2, 16: 0 }), 'dma.unmap-all'),
  'has room for 100 maps': custom(
    () => ({
      request: ({ command }, link) => (command === 2 && link.count('maps') === 101 ? link.hangUp() : 'pass'),
    }),
    'dma.pipelined',
  ),
  'ignores unknown flags of a map': accepts(at(2, { 4: 0x103 }), 'dma.map-flags'),
  'maps nothing': accepts(at(2, { 4: 3, 24: 0, 28: 0 }), 'dma.map-nothing'),
  'lets a map wrap': accepts(at(2, { 16: 0xffff_f000, 20: 0xffff_ffff }), 'dma.map-wraps'),
  'ignores a small argsz of a map': accepts(both(at(2, { 0: 31 }), withFds(0)), 'dma.malformed'),
  'touches memory that is not there': custom(
    () => ({
      request: ({ command, payload, fds }, link) =>
        command === 2 && fds.length > 0 && u32At(payload, 24) === 64 * 4096 ? link.proxy.crash() : 'pass',
    }),
    'dma.no-memory',
  ),
  'makes up a dirty bitmap': acceptsWith(48)(at(3, { 4: 1, 16: 0x1000 }), 'dma.dirty-bitmap-off'),
  'hangs up on a stray descriptor': hangsUp(both(at(4), withFds(1)), 'hostile.stray-descriptor'),
});
