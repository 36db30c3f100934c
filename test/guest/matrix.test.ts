import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { matrixTable } from './matrix.ts';

it('the README shows the matrix of devices, machines and kernels as it is', () => {
  expect(readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')).toContain(matrixTable());
});
