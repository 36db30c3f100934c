import { describe, expect, it } from 'vitest';
import { WithheldAction } from '../../../src/channel/index.ts';
import type { ConfigurationNeed } from '../../../src/engine/index.ts';
import { Errno, FerryError } from '../../../src/errors/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import type { FakeEnd } from '../fake-end.ts';
import type { World } from '../fake-world.ts';
import { failure, move, newWorld } from '../moves.ts';

const { INTERRUPTS } = WithheldAction;
const CONFIG = new Uint8Array([0xc0, 0xff, 0xee]);

/** What the destination was told, in order; and when it armed its interrupts. */
function configured(need: ConfigurationNeed, world: World = newWorld()) {
  const { source, destination } = world;
  const log: string[] = [];
  source.configurationNeed = async () => need;
  source.readConfiguration = async () => CONFIG;
  destination.configurationNeed = async () => need;
  destination.writeConfiguration = async (bytes, withheld) => {
    expect(bytes).toEqual(CONFIG);
    log.push(withheld === INTERRUPTS ? 'config, nothing armed' : `config, ${withheld} withheld`);
  };
  destination.performActions = async (actions) =>
    void log.push(`armed ${actions} in ${destination.deviceState}`);
  const write = destination.write.bind(destination);
  destination.write = async (bytes) => {
    log.push('data');
    await write(bytes);
  };
  return { world, log };
}

/** The log without repetitions. */
function inShort(log: readonly string[]): string[] {
  return log.filter((each, i) => each !== log[i - 1]);
}

const ARMED = `armed ${INTERRUPTS} in ${MigrationState.STOP}`;

describe('the configuration space of a device', () => {
  it('that does not need it early has it once, at the end, and everything is set up then', async () => {
    const { world, log } = configured('none');
    await move(world);
    expect(inShort(log)).toEqual(['data', 'config, nothing armed', ARMED]);
  });

  it('that needs it first has it ahead of each round and of the rest; at the end only the actions travel', async () => {
    const { world, log } = configured('ahead');
    await move(world);
    expect(inShort(log)).toEqual(['config, nothing armed', 'data', 'config, nothing armed', 'data', ARMED]);
  });

  it('that orders by itself has it every time, with nothing withheld and nothing to do at the end', async () => {
    const { world, log } = configured('every-time');
    await move(world);
    const free = 'config, 0 withheld';
    expect(inShort(log)).toEqual([free, 'data', free, 'data']);
  });

  it('is read again each time: what the guest has changed meanwhile follows', async () => {
    const { world } = configured('ahead');
    let reads = 0;
    world.source.readConfiguration = async () => {
      reads += 1;
      return CONFIG;
    };
    await move(world);
    expect(reads).toBe(2);
  });

  it('does not travel for a device that does not ask for it', async () => {
    const world = newWorld();
    let written = false;
    world.destination.writeConfiguration = async () => {
      written = true;
    };
    await move(world);
    expect(written).toBe(false);
  });

  it('that the destination does not take is refused before anything changes', async () => {
    const { world } = configured('none');
    world.destination.configurationNeed = async () => null;
    const error = await failure(world);
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'source' });
    expect(error.message).toContain('the destination takes no configuration space, and the source sends it');
  });

  it('that the destination refuses brings the source back', async () => {
    const { world } = configured('none');
    world.destination.writeConfiguration = () => Promise.reject(new Error('BAR 0 does not fit'));
    const error = await failure(world);
    expect(error.message).toContain('the destination refused its configuration: BAR 0 does not fit');
    expect(world.source.runsGuest).toBe(true);
  });
});

/** A device that takes data only once it is configured: the order decides whether it works. */
function needsFirst({ destination }: World): void {
  let isConfigured = false;
  const [configure, write] = [destination.writeConfiguration, destination.write.bind(destination)];
  destination.writeConfiguration = async (bytes, withheld) => {
    isConfigured = true;
    await configure?.(bytes, withheld);
  };
  destination.write = async (bytes) => {
    if (!isConfigured)
      throw new FerryError('ERR_REMOTE', 'data before configuration', { errno: Errno.EINVAL });
    await write(bytes);
  };
}

/** A device whose data overwrites what was configured before: it has to come last. */
function needsLast({ destination }: World): FakeEnd & { configured?: boolean } {
  const end: FakeEnd & { configured?: boolean } = destination;
  const [configure, write] = [destination.writeConfiguration, destination.write.bind(destination)];
  destination.writeConfiguration = async (bytes, withheld) => {
    end.configured = true;
    await configure?.(bytes, withheld);
  };
  destination.write = async (bytes) => {
    end.configured = false;
    await write(bytes);
  };
  return end;
}

describe('the order of configuration and data', () => {
  it('a device that needs it first: right ahead of the data, broken by the other order', async () => {
    const right = configured('ahead').world;
    needsFirst(right);
    await expect(move(right)).resolves.toMatchObject({ owner: 'destination' });
    const wrong = configured('none').world;
    needsFirst(wrong);
    expect((await failure(wrong)).message).toContain('data before configuration');
  });

  it('a device that needs it last: right at the end, broken by the other order', async () => {
    const right = configured('none').world;
    const kept = needsLast(right);
    await move(right);
    expect(kept.configured).toBe(true);
    const wrong = configured('ahead').world;
    const overwritten = needsLast(wrong);
    await move(wrong);
    expect(overwritten.configured).toBe(false);
  });
});

describe('interrupts', () => {
  it('are armed when the interrupt controller is there to take them, and before the device runs', async () => {
    const { world, log } = configured('none');
    const hooks = {
      armInterrupts: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        log.push('controller restored');
      },
      afterRun: () => void log.push(`vCPUs run, the device is in ${world.destination.deviceState}`),
    };
    await move(world, { hooks });
    expect(inShort(log).slice(-3)).toEqual(['controller restored', ARMED, 'vCPUs run, the device is in 2']);
  });

  it('that can not be armed leave the device with the destination, not running, and say so', async () => {
    const { world } = configured('none');
    world.destination.performActions = () => Promise.reject(new Error('no eventfd'));
    const error = await failure(world);
    expect(error).toMatchObject({
      owner: 'destination',
      destinationState: MigrationState.STOP,
      phase: 'run',
    });
    expect(error.message).toContain('did not do what had been withheld: no eventfd');
    expect(world.source.runsGuest || world.destination.runsGuest).toBe(false);
    expect(error.nextSteps).not.toEqual([]);
  });
});
