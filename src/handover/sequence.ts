/** How far the process has come that has the device. */
export type GiverState = 'asked' | 'copying' | 'stopped' | 'kept' | 'gone';

/** What happens to it. `stop` and `failed` come from itself, `timeout` from the clock, the rest from the other process. */
export type GiverEvent = 'ok' | 'taken' | 'no' | 'eof' | 'timeout' | 'stop' | 'again' | 'failed';

/** What it does then. */
export type GiverAct = 'nothing' | 'copy' | 'keep' | 'reclaim' | 'leave';

/** How far the process has come that is to have the device. */
export type TakerState = 'asking' | 'loading' | 'running' | 'refused';

/** What happens to it. */
export type TakerEvent = 'hello' | 'again' | 'complete' | 'no' | 'eof' | 'timeout' | 'failed';

/** What it does then. */
export type TakerAct = 'nothing' | 'begin' | 'take' | 'refuse' | 'leave';

type Table<S extends string, E extends string, A extends string> = Readonly<
  Record<S, Readonly<Partial<Record<E, readonly [S, A]>>>>
>;

/**
 * What keeps the device where it is ends in `kept`: any failure before it was stopped. Once everything has been sent the
 * other may have taken it, whatever the failure is; the word that both have (verdict.ts) tells, and `reclaim` asks it.
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
    taken: ['gone', 'leave'],
    no: ['kept', 'reclaim'],
    eof: ['kept', 'reclaim'],
    timeout: ['kept', 'reclaim'],
    failed: ['kept', 'reclaim'],
  },
  kept: {
    eof: ['kept', 'nothing'],
    no: ['kept', 'nothing'],
    ok: ['kept', 'nothing'],
  },
  gone: { eof: ['gone', 'nothing'], taken: ['gone', 'nothing'] },
};

/** As soon as everything is here the word decides, whether the other process lives or not: neither waits for the other. */
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
    complete: ['running', 'take'],
    no: ['refused', 'leave'],
    eof: ['refused', 'leave'],
    failed: ['refused', 'refuse'],
  },
  running: { eof: ['running', 'nothing'], no: ['running', 'nothing'] },
  refused: { eof: ['refused', 'nothing'], no: ['refused', 'nothing'] },
};

/** The next step of the process that has the device; null for what has no place there. */
export function giverStep(state: GiverState, event: GiverEvent): readonly [GiverState, GiverAct] | null {
  return GIVER[state][event] ?? null;
}

/** The next step of the process that is to have it; null for what has no place there. */
export function takerStep(state: TakerState, event: TakerEvent): readonly [TakerState, TakerAct] | null {
  return TAKER[state][event] ?? null;
}
