import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InterruptController } from '../../src/device/interrupt-controller.ts';
import type { InterruptControls, InterruptCounts } from '../../src/device/interrupt-controls.ts';
import { IrqIndex, IrqInfoFlag } from '../../src/protocol/index.ts';

const { INTX, MSI, MSIX, ERR, REQ } = IrqIndex;
const INDICES = [INTX, MSI, MSIX, ERR, REQ] as const;

/** Controls that a test sets directly. */
class TestControls implements InterruptControls {
  intxDisabled = false;
  msiEnabled = false;
  msiAllocated = 1;
  msiMasks = 0;
  msixEnabled = false;
  msixFunctionMasked = false;
  msixMasks = 0;
  status = false;

  msiMasked(vector: number): boolean {
    return (this.msiMasks & (1 << vector)) !== 0;
  }

  msixMasked(vector: number): boolean {
    return (this.msixMasks & (1 << vector)) !== 0;
  }

  levelChanged(asserted: boolean): void {
    this.status = asserted;
  }
}

function make(counts: InterruptCounts = { intx: 1, msi: 2, msix: 4 }) {
  const controls = new TestControls();
  const interrupts = new InterruptController(counts, controls);
  const signals: string[] = [];
  const trigger = (index: number, vector: number) => () => {
    signals.push(`${index}.${vector}`);
  };
  /** What has been signalled since the last call. */
  const taken = () => signals.splice(0);
  return { controls, interrupts, trigger, taken };
}

describe('InterruptController', () => {
  it.each([
    [INTX, 1, IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE | IrqInfoFlag.AUTOMASKED],
    [MSI, 2, IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE],
    [MSIX, 4, IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE],
    [ERR, 1, IrqInfoFlag.EVENTFD],
    [REQ, 1, IrqInfoFlag.EVENTFD],
  ])('describes index %i', (index, count, flags) => {
    expect(make().interrupts.info(index)).toEqual({ count, flags });
  });

  describe('INTx', () => {
    it('signals once and masks itself until the client has served it', () => {
      const { interrupts, trigger, taken, controls } = make();
      interrupts.setTriggers(INTX, 0, [trigger(INTX, 0)]);
      interrupts.raise(0);
      interrupts.raise(0);
      expect(taken()).toEqual(['0.0']);
      expect(controls.status).toBe(true);
      interrupts.unmask(INTX, 0, 1);
      expect(taken(), 'still asserted').toEqual(['0.0']);
      interrupts.lower();
      interrupts.unmask(INTX, 0, 1);
      expect(taken()).toEqual([]);
      expect(controls.status).toBe(false);
    });

    it('is silent while COMMAND disables it, and says so in STATUS all the same', () => {
      const { interrupts, trigger, taken, controls } = make();
      interrupts.setTriggers(INTX, 0, [trigger(INTX, 0)]);
      controls.intxDisabled = true;
      interrupts.raise(0);
      expect(taken()).toEqual([]);
      expect(controls.status).toBe(true);
      controls.intxDisabled = false;
      interrupts.update();
      expect(taken()).toEqual(['0.0']);
    });

    it('reaches a client that arrives while it is asserted', () => {
      const { interrupts, trigger, taken } = make();
      interrupts.setTriggers(INTX, 0, [trigger(INTX, 0)]);
      interrupts.raise(0);
      taken();
      interrupts.disconnect();
      interrupts.setTriggers(INTX, 0, [trigger(INTX, 0)]);
      expect(taken()).toEqual(['0.0']);
    });
  });

  describe('MSI-X', () => {
    it('keeps a vector without a trigger pending until there is one', () => {
      const { interrupts, trigger, taken, controls } = make();
      controls.msixEnabled = true;
      interrupts.raise(3);
      expect(interrupts.pendingVectors(MSIX)).toEqual([3]);
      expect(interrupts.pendingByte(MSIX, 0)).toBe(8);
      interrupts.setTriggers(MSIX, 2, [trigger(MSIX, 2), trigger(MSIX, 3)]);
      expect(taken()).toEqual(['2.3']);
      expect(interrupts.pendingByte(MSIX, 0)).toBe(0);
    });

    it('is enabled by triggers alone, even empty ones, for clients that emulate the control word', () => {
      const { interrupts, trigger, taken } = make();
      interrupts.setTriggers(INTX, 0, [trigger(INTX, 0)]);
      interrupts.setTriggers(MSIX, 0, [null]);
      interrupts.raise(1);
      expect(taken()).toEqual([]);
      expect(interrupts.mode).toBe('msix');
      interrupts.disable(MSIX);
      expect(interrupts.mode).toBe('intx');
    });

    it.each<[string, (controls: TestControls, masked: boolean) => void]>([
      [
        'the function mask',
        (controls, masked) => {
          controls.msixFunctionMasked = masked;
        },
      ],
      [
        'the vector in the table',
        (controls, masked) => {
          controls.msixMasks = masked ? 1 : 0;
        },
      ],
    ])('waits for %s', (_, mask) => {
      const { interrupts, trigger, taken, controls } = make();
      controls.msixEnabled = true;
      interrupts.setTriggers(MSIX, 0, [trigger(MSIX, 0)]);
      mask(controls, true);
      interrupts.raise(0);
      interrupts.raise(0);
      expect(taken()).toEqual([]);
      mask(controls, false);
      interrupts.update();
      expect(taken(), 'once').toEqual(['2.0']);
    });

    it('folds vectors onto those that MSI has allocated', () => {
      const { interrupts, trigger, taken, controls } = make({ intx: 0, msi: 4, msix: 0 });
      controls.msiEnabled = true;
      controls.msiAllocated = 2;
      interrupts.setTriggers(MSI, 0, [trigger(MSI, 0), trigger(MSI, 1)]);
      for (const vector of [0, 1, 2, 3]) interrupts.raise(vector);
      expect(taken()).toEqual(['1.0', '1.1', '1.0', '1.1']);
    });

    it('keeps what nothing is enabled for, where there is no INTx', () => {
      const { interrupts, trigger, taken } = make({ intx: 0, msi: 0, msix: 2 });
      interrupts.raise(1);
      interrupts.setTriggers(MSIX, 0, [trigger(MSIX, 0), trigger(MSIX, 1)]);
      expect(taken()).toEqual(['2.1']);
    });
  });

  it('delivers what was raised during a hold once per vector, and INTx by its level then', () => {
    const { interrupts, trigger, taken } = make();
    interrupts.setTriggers(INTX, 0, [trigger(INTX, 0)]);
    interrupts.hold();
    interrupts.raise(0);
    interrupts.lower();
    interrupts.raise(0);
    interrupts.setTriggers(MSIX, 0, [trigger(MSIX, 0), trigger(MSIX, 1)]);
    for (const vector of [1, 0, 1, 0]) interrupts.raise(vector);
    interrupts.notify(ERR);
    expect(taken()).toEqual([]);
    interrupts.setTriggers(ERR, 0, [trigger(ERR, 0)]);
    interrupts.release();
    expect(taken()).toEqual(['2.0', '2.1', '3.0']);
    interrupts.disable(MSIX);
    expect(taken(), 'INTx, which is still asserted').toEqual(['0.0']);
  });

  it('signals a loopback to the client that asks, whatever is masked, and nothing where there is no trigger', () => {
    const { interrupts, trigger, taken } = make();
    interrupts.setTriggers(REQ, 0, [trigger(REQ, 0)]);
    interrupts.setTriggers(INTX, 0, [trigger(INTX, 0)]);
    interrupts.mask(INTX, 0, 1);
    for (const index of [REQ, INTX, ERR]) interrupts.loopback(index, 0);
    expect(taken()).toEqual(['4.0', '0.0']);
  });

  it('forgets what is pending on reset, and keeps what the main connection owns', () => {
    const { interrupts, trigger, taken, controls } = make();
    controls.msixEnabled = true;
    interrupts.raise(1);
    interrupts.notify(REQ);
    interrupts.setTriggers(MSIX, 0, [trigger(MSIX, 0)]);
    interrupts.mask(MSIX, 0, 1);
    interrupts.raise(0);
    interrupts.reset();
    expect(interrupts.pendingVectors(MSIX)).toEqual([]);
    interrupts.setTriggers(REQ, 0, [trigger(REQ, 0)]);
    interrupts.raise(0);
    expect(taken(), 'the mask stays').toEqual([]);
    interrupts.unmask(MSIX, 0, 1);
    expect(taken(), 'the trigger stays').toEqual(['2.0']);
  });

  it('forgets events with the client that they were for', () => {
    const { interrupts, trigger, taken } = make();
    interrupts.notify(ERR);
    interrupts.notify(REQ);
    interrupts.disconnect();
    for (const index of [ERR, REQ]) interrupts.setTriggers(index, 0, [trigger(index, 0)]);
    expect(taken()).toEqual([]);
  });

  it('takes over a state without signalling before it is told', () => {
    const { interrupts, trigger, taken, controls } = make();
    controls.msixEnabled = true;
    interrupts.setTriggers(
      MSIX,
      0,
      [0, 1, 2, 3].map((vector) => trigger(MSIX, vector)),
    );
    interrupts.restore(true, Uint8Array.of(0b10), Uint8Array.of(0b1001));
    expect([interrupts.level, controls.status]).toEqual([true, true]);
    expect([interrupts.pendingVectors(MSI), interrupts.pendingVectors(MSIX)]).toEqual([[1], [0, 3]]);
    expect(taken()).toEqual([]);
    interrupts.update();
    expect(taken()).toEqual(['2.0', '2.3']);
  });

  it.each<[string, (interrupts: InterruptController) => void]>([
    ['an index beyond the last', (interrupts) => interrupts.info(5)],
    ['a negative index', (interrupts) => interrupts.disable(-1)],
    ['a start beyond the last vector', (interrupts) => interrupts.setTriggers(MSIX, 4, [])],
    ['a range beyond the last vector', (interrupts) => interrupts.setTriggers(MSIX, 3, [null, null])],
    ['a count that wraps around', (interrupts) => interrupts.mask(MSIX, 1, 0xffffffff)],
    ['masking an event', (interrupts) => interrupts.mask(ERR, 0, 1)],
    ['unmasking an event', (interrupts) => interrupts.unmask(REQ, 0, 1)],
    ['a loopback of no vector', (interrupts) => interrupts.loopback(INTX, 1)],
    ['raising a vector that no kind has', (interrupts) => interrupts.raise(4)],
    ['raising a negative vector', (interrupts) => interrupts.raise(-1)],
  ])('refuses %s', (_, act) => {
    expect(() => act(make().interrupts)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_INTERRUPT', errno: 22 }),
    );
  });
});

/** The rules once more, as naively as possible: after each step look at everything and deliver what can be. */
class Model {
  readonly counts = [1, 2, 3, 1, 1];
  readonly pending = this.counts.map((count) => new Array<boolean>(count).fill(false));
  readonly masked = this.counts.map((count) => new Array<boolean>(count).fill(false));
  readonly triggers = this.counts.map((count) => new Array<boolean>(count).fill(false));
  readonly enabled = this.counts.map(() => false);
  readonly signals: string[] = [];
  level = false;
  held = false;

  get mode(): number {
    if (this.controls.msixEnabled || this.enabled[MSIX]) return MSIX;
    if (this.controls.msiEnabled || this.enabled[MSI]) return MSI;
    return INTX;
  }

  readonly controls: TestControls;

  constructor(controls: TestControls) {
    this.controls = controls;
  }

  raise(vector: number): void {
    const { mode } = this;
    const allocated = this.controls.msiEnabled ? this.controls.msiAllocated : 2;
    if (mode === INTX) this.level = true;
    else this.set(this.pending, mode, vector % (mode === MSI ? allocated : 3), true);
  }

  set(table: boolean[][], index: number, vector: number, value: boolean): void {
    const row = table[index];
    if (row) row[vector] = value;
  }

  settle(): void {
    if (this.held) return;
    const free = (index: number, vector: number) =>
      this.triggers[index]?.[vector] === true && this.masked[index]?.[vector] === false;
    if (this.level && this.mode === INTX && !this.controls.intxDisabled && free(INTX, 0)) {
      this.signals.push('0.0');
      this.set(this.masked, INTX, 0, true);
    }
    for (const index of [MSI, MSIX, ERR, REQ]) {
      if ((index === MSI || index === MSIX) && index !== this.mode) continue;
      if (index === MSIX && this.controls.msixFunctionMasked) continue;
      for (const [vector, waits] of (this.pending[index] ?? []).entries()) {
        if (!waits || !free(index, vector)) continue;
        if (index === MSI && this.controls.msiMasked(vector)) continue;
        if (index === MSIX && this.controls.msixMasked(vector)) continue;
        this.set(this.pending, index, vector, false);
        this.signals.push(`${index}.${vector}`);
      }
    }
  }
}

interface Step {
  readonly name: string;
  real(interrupts: InterruptController, trigger: (index: number, vector: number) => () => void): void;
  model(model: Model): void;
}

const vectorOf = (counts: readonly number[]) =>
  fc.constantFrom(
    ...counts.flatMap((count, index) => Array.from({ length: count }, (_, vector) => ({ index, vector }))),
  );

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.integer({ min: 0, max: 2 }).map(
    (vector): Step => ({
      name: `raise ${vector}`,
      real: (interrupts) => interrupts.raise(vector),
      model: (model) => model.raise(vector),
    }),
  ),
  fc.constant<Step>({
    name: 'lower',
    real: (interrupts) => interrupts.lower(),
    model: (model) => {
      model.level = false;
    },
  }),
  fc.constantFrom(ERR, REQ).map(
    (index): Step => ({
      name: `notify ${index}`,
      real: (interrupts) => interrupts.notify(index),
      model: (model) => model.set(model.pending, index, 0, true),
    }),
  ),
  fc.tuple(vectorOf([1, 2, 3, 1, 1]), fc.boolean()).map(
    ([{ index, vector }, given]): Step => ({
      name: `${given ? 'trigger' : 'no trigger'} ${index}.${vector}`,
      real: (interrupts, trigger) =>
        interrupts.setTriggers(index, vector, [given ? trigger(index, vector) : null]),
      model: (model) => {
        model.set(model.triggers, index, vector, given);
        model.enabled[index] = true;
      },
    }),
  ),
  fc.constantFrom(...INDICES).map(
    (index): Step => ({
      name: `disable ${index}`,
      real: (interrupts) => interrupts.disable(index),
      model: (model) => {
        model.triggers[index]?.fill(false);
        model.masked[index]?.fill(false);
        model.enabled[index] = false;
      },
    }),
  ),
  fc.tuple(vectorOf([1, 2, 3]), fc.boolean()).map(
    ([{ index, vector }, masked]): Step => ({
      name: `${masked ? 'mask' : 'unmask'} ${index}.${vector}`,
      real: (interrupts) =>
        masked ? interrupts.mask(index, vector, 1) : interrupts.unmask(index, vector, 1),
      model: (model) => model.set(model.masked, index, vector, masked),
    }),
  ),
  fc.boolean().map(
    (held): Step => ({
      name: held ? 'hold' : 'release',
      real: (interrupts) => (held ? interrupts.hold() : interrupts.release()),
      model: (model) => {
        model.held = held;
      },
    }),
  ),
  fc.constant<Step>({
    name: 'disconnect',
    real: (interrupts) => interrupts.disconnect(),
    model: (model) => {
      for (const index of INDICES) {
        model.triggers[index]?.fill(false);
        model.masked[index]?.fill(false);
        model.enabled[index] = false;
      }
      for (const index of [ERR, REQ]) model.pending[index]?.fill(false);
    },
  }),
  fc.constant<Step>({
    name: 'reset',
    real: (interrupts) => interrupts.reset(),
    model: (model) => {
      for (const row of model.pending) row.fill(false);
      model.level = false;
    },
  }),
  fc
    .record({
      intxDisabled: fc.boolean(),
      msiEnabled: fc.boolean(),
      msiAllocated: fc.constantFrom(1, 2),
      msiMasks: fc.integer({ min: 0, max: 3 }),
      msixEnabled: fc.boolean(),
      msixFunctionMasked: fc.boolean(),
      msixMasks: fc.integer({ min: 0, max: 7 }),
    })
    .map(
      (values): Step => ({
        name: `controls ${JSON.stringify(values)}`,
        real: (interrupts) => interrupts.update(),
        model: (model) => Object.assign(model.controls, values),
      }),
    ),
);

it('InterruptController equals a naive model after every step of any sequence', () => {
  fc.assert(
    fc.property(fc.array(steps, { minLength: 1, maxLength: 60 }), (sequence) => {
      const { controls, interrupts, trigger, taken } = make({ intx: 1, msi: 2, msix: 3 });
      const model = new Model(controls);
      for (const step of sequence) {
        step.model(model);
        step.real(interrupts, trigger);
        model.settle();
        expect(taken().sort(), step.name).toEqual(model.signals.splice(0).sort());
        expect([interrupts.level, controls.status], step.name).toEqual([model.level, model.level]);
        for (const index of [MSI, MSIX] as const) {
          const pending = (model.pending[index] ?? []).flatMap((waits, vector) => (waits ? [vector] : []));
          expect(interrupts.pendingVectors(index), step.name).toEqual(pending);
        }
      }
    }),
    { numRuns: 1000 },
  );
});
