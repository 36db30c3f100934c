import { describe, expect, it } from 'vitest';
import { Conversation, parseFilter, TraceError } from '../../src/trace/index.ts';
import { hex } from '../protocol/support.ts';
import { messageEvent, whole } from './support.ts';

const conversation = new Conversation();
const fd = { kind: 'memfd' as const, size: 4096n, identity: 1n };
const map = hex('20000000 03000000 0000000000000000 0000100000000000 0000200000000000');
const configRead = hex('0400000000000000 07000000 04000000');
const refused = whole(9, true, Buffer.alloc(0), 2);
refused.writeUInt32LE(0x21, 8);
refused.writeUInt32LE(22, 12);

/** Four messages: a map with memory, a read of configuration space, its refusal, and something on the control socket. */
const told = [
  messageEvent('client', whole(2, false, map, 1), { time: 0n, fds: [fd] }),
  messageEvent('client', whole(9, false, configRead, 2), { time: 1_000n }),
  messageEvent('server', refused, { time: 2_501_000n }),
  messageEvent('client', whole(16, false, hex('10000000 02000200 03000000 ffffffff'), 3), {
    number: 2,
    role: 'control',
  }),
].map((event) => conversation.tell(event));

const chosen = (text: string): number[] => told.filter(parseFilter(text)).map(({ number }) => number);

describe('a filter', () => {
  it.each([
    ['', [1, 2, 3, 4]],
    ['command=DMA_MAP', [1]],
    ['command=dma_*,region_read', [1, 2, 3]],
    ['command!=REGION_*', [1, 4]],
    ['kind=error', [3]],
    ['errno=EINVAL', [3]],
    ['errno=22', [3]],
    ['errno!=EINVAL', [1, 2, 4]],
    ['from=server', [3]],
    ['socket=control', [4]],
    ['connection=1 kind=request', [1, 2]],
    ['id>=2', [2, 3, 4]],
    ['latency>1ms', [3]],
    ['latency>2.5ms', []],
    ['latency<=2500us', [3]],
    ['fds=1', [1]],
    ['fd=memfd', [1]],
    ['bytes<=32', [2, 3, 4]],
    ['address=0x100000', [1]],
    ['address>1048575', [1]],
    ['address>0x100000', []],
    ['size=0x200000', [1]],
    ['region=CONFIG', [2, 3]],
    ['region=7', [2, 3]],
    ['read=1', [1]],
    ['flags=READ|WRITE', [1]],
    ['device_state=STOP_COPY', [4]],
    ['feature=MIG_DEVICE_STATE set=1', [4]],
    ['problem=no', [1, 2, 3, 4]],
  ])('%s', (text, numbers) => {
    expect(chosen(text)).toEqual(numbers);
  });

  it.each([
    ['regoin=1', 'neither a property'],
    ['command', 'no term of a filter'],
    ['latency>fast', 'no number'],
    ['=x', 'no term of a filter'],
  ])('%s is refused with what would do', (text, why) => {
    expect(() => parseFilter(text)).toThrow(TraceError);
    expect(() => parseFilter(text)).toThrow(why);
  });
});
