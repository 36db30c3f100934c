import { perform, type VmOutcome, type VmSequence, type VmStep } from './step.ts';

/** Carries out several sequences side by side. All go on to their ends; then the first failure is thrown. */
export function* all<T>(parts: readonly VmSequence<T>[]): VmSequence<readonly T[]> {
  const strands = parts.map((part) => new Strand(part));
  yield* carryOutAll(strands);
  return strands.map((strand) => strand.result());
}

/** Two sequences side by side. */
export function* both<A, B>(a: VmSequence<A>, b: VmSequence<B>): VmSequence<readonly [A, B]> {
  const [first, second] = [new Strand(a), new Strand(b)];
  yield* carryOutAll([first, second]);
  return [first.result(), second.result()];
}

function* carryOutAll(strands: readonly Strand<unknown>[]): VmSequence<void> {
  for (;;) {
    const waiting = strands.filter(({ step }) => step !== null);
    if (waiting.length === 0) return;
    const steps = waiting.flatMap(({ step }) => (step === null ? [] : [step]));
    const { outcomes } = yield* perform({ do: 'together', steps }, 'outcomes');
    if (outcomes.length !== steps.length)
      throw new TypeError(`${outcomes.length} outcomes of ${steps.length} steps`);
    for (const [i, outcome] of outcomes.entries()) waiting[i]?.take(outcome);
  }
}

/** One of several sequences that are carried out side by side. */
class Strand<T> {
  /** What it wants done; null: it is over. */
  step: VmStep | null = null;
  readonly #part: VmSequence<T>;
  #result: () => T = () => {
    throw new TypeError('the sequence is not over');
  };

  constructor(part: VmSequence<T>) {
    this.#part = part;
    this.#advance(() => part.next());
  }

  take(outcome: VmOutcome): void {
    this.#advance(() =>
      outcome.is === 'reply' ? this.#part.next(outcome.reply) : this.#part.throw(outcome.error),
    );
  }

  /** What it returned. Throws what it threw. */
  result(): T {
    return this.#result();
  }

  #advance(resume: () => IteratorResult<VmStep, T>): void {
    this.step = null;
    try {
      const turn = resume();
      if (turn.done) this.#result = () => turn.value;
      else this.step = turn.value;
    } catch (error) {
      this.#result = () => {
        throw error;
      };
    }
  }
}
