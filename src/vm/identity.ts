import type { EndInspection } from '../engine/index.ts';
import type { Examined } from './examine.ts';

/** What has to be equal on both sides of a VM's migration. */
export function identityOf({ machine, devices }: Examined): NonNullable<EndInspection['identity']> {
  return {
    'the machine': machine.type,
    'guest memory': `${machine.memory} bytes`,
    'the number of CPUs': `${machine.cpus}`,
    ...Object.fromEntries(devices.map(({ place }, i) => [`the place of device ${i + 1}`, place])),
  };
}
