import fc from 'fast-check';
import { SEED } from '../helpers/seed.ts';

// A failure prints the seed as fast-check does.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: SEED });
