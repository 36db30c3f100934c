import { Command, IrqIndex, IrqInfoFlag } from '../../protocol/index.ts';
import { notApplicable } from '../verdict.ts';
import { fields } from '../wire/bytes.ts';
import type { Received } from '../wire/message-cutter.ts';
import type { Wire } from '../wire/wire.ts';
import type { Facts } from './facts.ts';
import type { Refusal } from './server-rule.ts';
import type { ServerWorld } from './world.ts';

/** One type of interrupt. */
export type Irq = Facts['irqs'][number];

/** What a SET_IRQS is about. */
export interface VectorRange {
  readonly start?: number;
  readonly count: number;
  readonly data?: Uint8Array;
  readonly fds?: readonly number[];
}

/** SET_IRQS with right sizes; the reply, whatever it says. */
export function setIrqs(
  wire: Wire,
  index: number,
  flags: number,
  { start = 0, count, data = fields(), fds = [] }: VectorRange,
): Promise<Received> {
  const payload = fields(20 + data.length, flags, index, start, count, data);
  return wire.request(Command.DEVICE_SET_IRQS, payload, { fds });
}

/** The types of interrupt that the device has, without those that tell of errors and requests. */
export function interrupts({ facts }: ServerWorld, vectors = 1): readonly Irq[] {
  const found = facts.irqs.filter(
    ({ index, count, flags }) =>
      index <= IrqIndex.MSIX && count >= vectors && (flags & IrqInfoFlag.EVENTFD) !== 0,
  );
  const what = vectors === 1 ? 'no interrupts' : `no type of interrupt with ${vectors} vectors`;
  return found.length === 0 ? notApplicable(`the device has ${what}`) : found;
}

/** SET_IRQS with anything in it, to be refused: flags, index, start, count and data. */
export const setIrqsMessage = (
  what: string,
  flags: number,
  index: number,
  start: number,
  count: number,
  data = fields(),
): Refusal => [
  `SET_IRQS ${what}`,
  Command.DEVICE_SET_IRQS,
  fields(20 + data.length, flags, index, start, count, data),
];
