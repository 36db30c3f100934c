import { describe, expect, it } from 'vitest';
import { Coverage } from '../../src/stream/coverage.ts';
import { PAGE_SIZE } from '../../src/stream/index.ts';

describe('Coverage', () => {
  it('names the first byte that has not arrived, until all have', () => {
    const coverage = new Coverage(4 * PAGE_SIZE);
    expect(coverage.missing).toBe(0);
    coverage.add(0, PAGE_SIZE);
    coverage.add(2 * PAGE_SIZE, PAGE_SIZE);
    expect(coverage.missing).toBe(PAGE_SIZE);
    coverage.add(0, 3 * PAGE_SIZE);
    expect(coverage.missing).toBe(3 * PAGE_SIZE);
    coverage.add(3 * PAGE_SIZE, PAGE_SIZE);
    expect(coverage.missing).toBeNull();
  });
});
