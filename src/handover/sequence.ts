/** How far the process has come that has the device. */
export type GiverState = 'asked' | 'copying' | 'stopped' | 'given' | 'kept' | 'gone';

/** What happens to it. `stop` and `failed` come from itself, `timeout` from the clock, the rest from the other process. */
export type GiverEvent = 'ok' | 'ready' | 'taken' | 'no' | 'eof' | 'timeout' | 'stop' | 'again' | 'failed';

/** What it does then. */
export type GiverAct = 'nothing' | 'copy' | 'keep' | 'give' | 'leave' | 'reclaim';

/** How far the process has come that is to have the device. */
export type TakerState = 'asking' | 'loading' | 'loaded' | 'running' | 'refused';

/** What happens to it. */
export type TakerEvent = 'hello' | 'again' | 'complete' | 'go' | 'no' | 'eof' | 'timeout' | 'failed';

/** What it does then. */
export type TakerAct = 'nothing' | 'begin' | 'ready' | 'take' | 'inherit' | 'refuse' | 'leave';

type Table<S extends string, E extends string, A extends string> = Readonly<
  Record<S, Readonly<Partial<Record<E, readonly [S, A]>>>>
>;

/**
 * What keeps the device where it is ends in `kept`: any failure before it was given. After that nobody waits with a limit:
 * who has the device is told by the word that both have (verdict.ts).
 */
const GIVER: Table<GiverState, GiverEvent, GiverAct> = {
  asked: {
    ok: ['copying', 'copy'],
    no: ['kept', 'keep'],
    eof: ['kept', 'keep'],
    timeout: ['kept', 'keep'],
    failed: ['kept', 'keep'],
  },
  copying: {
    stop: ['stopped', 'nothing'],
    again: ['asked', 'nothing'],
    no: ['kept', 'keep'],
    eof: ['kept', 'keep'],
    timeout: ['kept', 'keep'],
    failed: ['kept', 'keep'],
  },
  stopped: {
    ready: ['given', 'give'],
    no: ['kept', 'keep'],
    eof: ['kept', 'keep'],
    timeout: ['kept', 'keep'],
    failed: ['kept', 'keep'],
  },
  given: { taken: ['gone', 'leave'], eof: ['gone', 'reclaim'] },
  kept: {
    eof: ['kept', 'nothing'],
    no: ['kept', 'nothing'],
    ready: ['kept', 'nothing'],
    ok: ['kept', 'nothing'],
  },
  gone: { eof: ['gone', 'nothing'] },
};

/**
 * From `complete` on the death of the other process is no failure any more, and there is no time limit: it may be stopped,
 * and still have the device.
 */
const TAKER: Table<TakerState, TakerEvent, TakerAct> = {
  asking: {
    hello: ['loading', 'begin'],
    no: ['refused', 'leave'],
    eof: ['refused', 'leave'],
    timeout: ['refused', 'refuse'],
    failed: ['refused', 'refuse'],
  },
  loading: {
    again: ['loading', 'begin'],
    complete: ['loaded', 'ready'],
    no: ['refused', 'leave'],
    eof: ['refused', 'leave'],
    failed: ['refused', 'refuse'],
  },
  loaded: {
    go: ['running', 'take'],
    eof: ['running', 'inherit'],
    no: ['refused', 'leave'],
    failed: ['refused', 'refuse'],
  },
  running: { eof: ['running', 'nothing'] },
  refused: { eof: ['refused', 'nothing'], no: ['refused', 'nothing'], go: ['refused', 'nothing'] },
};

/** The next step of the process that has the device; null for what has no place there. */
export function giverStep(state: GiverState, event: GiverEvent): readonly [GiverState, GiverAct] | null {
  return GIVER[state][event] ?? null;
}

/** The next step of the process that is to have it; null for what has no place there. */
export function takerStep(state: TakerState, event: TakerEvent): readonly [TakerState, TakerAct] | null {
  return TAKER[state][event] ?? null;
}
