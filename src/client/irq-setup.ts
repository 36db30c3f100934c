import { Command, deviceSetIrqs, IrqSet, IrqSetFlag } from '../protocol/index.ts';
import { ClientError } from './client-error.ts';
import type { Operation, Request } from './operation.ts';
import type { TransferLimits } from './transfer-limits.ts';

const { DATA_NONE, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = IrqSetFlag;

/** What SET_IRQS can be told to do with vectors by their numbers alone. */
export const IrqAction = { MASK: ACTION_MASK, UNMASK: ACTION_UNMASK, TRIGGER: ACTION_TRIGGER } as const;

/** Gives vectors their eventfds; null in the list takes a vector's away. */
export function* setEventfds(
  limits: TransferLimits,
  index: number,
  start: number,
  eventfds: readonly (number | null)[],
): Operation<void> {
  for (const run of runsOf(eventfds, limits.fds)) {
    const request = setIrqs(DATA_EVENTFD | ACTION_TRIGGER, index, start + run.first, run.count, run.fds);
    yield request;
  }
}

/** Disables all vectors of an index: the eventfds are given up. */
export function* disableIrq(index: number): Operation<void> {
  yield setIrqs(DATA_NONE | ACTION_TRIGGER, index, 0, 0, []);
}

/** Masks, unmasks or triggers vectors. */
export function* actOnIrq(action: number, index: number, start: number, count: number): Operation<void> {
  yield setIrqs(DATA_NONE | action, index, start, count, []);
}

interface Run {
  readonly first: number;
  readonly count: number;
  /** As many as `count`, or none: then the vectors lose theirs. */
  readonly fds: readonly number[];
}

/** Cuts the list into what one message can say: fds throughout, and no more than it may carry, or none throughout. */
function runsOf(eventfds: readonly (number | null)[], maxFds: number): Run[] {
  const runs: Run[] = [];
  for (let first = 0; first < eventfds.length; ) {
    const fds: number[] = [];
    let end = first;
    for (let fd = eventfds[end]; typeof fd === 'number' && fds.length < maxFds; fd = eventfds[end]) {
      fds.push(fd);
      end += 1;
    }
    if (fds.length === 0) while (end < eventfds.length && eventfds[end] === null) end += 1;
    if (end === first) throw new ClientError('ERR_NOT_NEGOTIATED', 'the server takes no file descriptors');
    runs.push({ first, count: end - first, fds });
    first = end;
  }
  return runs;
}

function setIrqs(
  flags: number,
  index: number,
  start: number,
  count: number,
  fds: readonly number[],
): Request {
  const value = { argsz: IrqSet.size, flags, index, start, count, data: new Uint8Array(0) };
  const payload = deviceSetIrqs.request.encode(value, fds.length);
  return { command: Command.DEVICE_SET_IRQS, payload, fds };
}
