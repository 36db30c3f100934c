import type { DeviceDescription } from '../../client/index.ts';
import { errnoName } from '../../errors/index.ts';
import { stateName, v1Name } from '../../states/index.ts';
import { isOfKernel } from '../access/device-access.ts';
import { irqName, migrationFlagNames, regionName } from '../output/names.ts';

/** A device's description as `ferry inspect --json` prints it: names beside numbers, no raw bytes but in hex. */
export function descriptionJson(description: DeviceDescription): object {
  const { agreement, info, regions, interrupts, config, migration, server, refused } = description;
  return {
    config: config === null ? null : { ...config, bytes: Buffer.from(config.bytes).toString('hex') },
    info,
    regions: regions
      .filter(({ size }) => size > 0n)
      .map((each) => ({ name: regionName(each.index), ...each })),
    interrupts: interrupts
      .filter(({ count }) => count > 0)
      .map((each) => ({ name: irqName(each.index), ...each })),
    migration: {
      supported: migration.flags !== null || migration.v1 !== undefined,
      flags: migration.flags === null ? null : migrationFlagNames(migration.flags),
      state: stateOf(migration),
      dataSize: migration.dataSize,
      v1: migration.v1 ?? null,
    },
    server,
    // With a kernel nothing is agreed.
    agreement: isOfKernel(server) ? null : agreement,
    refused: refused.map(({ code, errno, message }) => ({ code, errno: errnoName(errno), message })),
  };
}

function stateOf({ state, v1 }: DeviceDescription['migration']): string | null {
  if (v1 !== undefined) return v1Name(v1.deviceState);
  return state === null ? null : stateName(state);
}
