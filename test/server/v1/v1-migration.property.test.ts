import fc from 'fast-check';
import { describe, it } from 'vitest';
import { V1_RULES } from '../../../src/states/index.ts';
import { commands, Real } from './v1-commands.ts';
import { V1Model } from './v1-model.ts';

/** Bits of MigrationFlag: STOP_COPY always; P2P 2; PRE_COPY 4. */
const FLAGS = [1, 3, 5, 7];

describe.each(V1_RULES.map(({ id }) => id))('a v1 device under the rules %s', (id) => {
  const rules = V1_RULES.find((each) => each.id === id);
  it.each(FLAGS)('reports the truth, whatever is asked of it and fails in it: flags %i', async (flags) => {
    if (rules === undefined) throw new RangeError(id);
    const preCopies = (flags & 4) !== 0;
    const property = fc.asyncProperty(commands, (all) =>
      fc.asyncModelRun(() => ({ model: new V1Model(preCopies), real: new Real(flags, rules) }), all),
    );
    await fc.assert(property, { numRuns: 60 });
  });
});
