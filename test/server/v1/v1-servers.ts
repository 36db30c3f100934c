import { createHash } from 'node:crypto';
import type { V1Options } from '../../../src/server/index.ts';
import { fields } from '../../helpers/raw-client.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { testServers } from '../test-servers.ts';

/** Small, so that a state takes several pieces. */
export const SECTION = 16 * 1024;

/** Ways to serve test devices through a v1 region; all are closed after each test of the file. */
export function v1Servers() {
  const { world } = testServers();
  const served = (options: V1Options = {}, device = new TestDevice()) =>
    world(device, { v1: { dataSize: SECTION, ...options } });
  return {
    world,
    served,
    /** A device with content in its memory and a register. */
    withContent: async () => {
      const made = await served();
      made.device.state.scratch = 0xfee1dead;
      for (let at = 0; at < made.device.state.ram.size; at += 8) {
        made.device.state.ram.write(at, fields(at, at ^ 0xa5a5));
      }
      return made;
    },
  };
}

/** What has to arrive. */
export function contentOf(device: TestDevice) {
  return {
    scratch: device.state.scratch,
    ram: createHash('sha256').update(device.state.ram.bytes).digest('hex'),
  };
}
