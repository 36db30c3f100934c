import { afterEach } from 'vitest';
import type { PciDevice } from '../../src/device/index.ts';
import type { ServeOptions } from '../../src/server/index.ts';
import { serveForTest } from '../helpers/served.ts';

/** A device that is served, and the clients of a test. */
export type Served = ReturnType<typeof serveForTest>;

/** Ways to serve devices, all of which are closed after each test of the file. */
export function testServers() {
  const open: Served[] = [];
  afterEach(() => {
    for (const served of open.splice(0)) served.close();
  });
  const serve = (device: PciDevice, options: ServeOptions = {}): Served => {
    const served = serveForTest(device, options);
    open.push(served);
    return served;
  };
  return {
    serve,
    /** With a VMM and a controller that have negotiated. */
    world: async <D extends PciDevice>(device: D, options: ServeOptions = {}) => {
      const served = serve(device, options);
      const main = await served.main();
      return { device, served, server: served.server, main, control: await served.control() };
    },
    /** With a controller alone; `json` is what it proposes. */
    controlled: async <D extends PciDevice>(device: D, json?: string) => {
      const served = serve(device);
      return { device, served, control: await served.control(json) };
    },
  };
}
