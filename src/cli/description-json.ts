import type { DeviceDescription } from '../client/index.ts';
import { errnoName } from '../errors/index.ts';
import { stateName } from '../states/index.ts';
import { irqName, migrationFlagNames, regionName } from './names.ts';

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
      supported: migration.flags !== null,
      flags: migration.flags === null ? null : migrationFlagNames(migration.flags),
      state: migration.state === null ? null : stateName(migration.state),
      dataSize: migration.dataSize,
    },
    server,
    agreement,
    refused: refused.map(({ code, errno, message }) => ({ code, errno: errnoName(errno), message })),
  };
}
