// A device behind a socket that is what mtty is, to the outside: its regions, and the 96 bytes of its state.
import { PciDevice } from '../../../dist/device/index.js';
import { MigrationState } from '../../../dist/states/index.js';

const SIZE = 96;
/** In the state: line control and scratch of the first port. */
export const REGISTERS_AT = 24;
/** Of its regions, by index: two UARTs, and a configuration space that is one byte short. */
const SIZES = { 0: 8, 1: 8, 7: 0xff };

class Twin extends PciDevice {
  identity = {
    kind: 'mtty',
    vendor: 0x4348,
    device: 0x3253,
    subsystemVendor: 0x4348,
    subsystemDevice: 0x3253,
    revision: 0x10,
    classCode: 0x070002,
  };
  bars = {};
  interrupts = { intx: true };
  state = new Uint8Array(SIZE);
  written = [];

  createMigration() {
    let at = 0;
    return {
      flags: 7,
      arc: (from, to) => {
        if (from === MigrationState.RESUMING) {
          if (this.written.length !== SIZE) throw new Error(`${this.written.length} bytes of ${SIZE}`);
          this.state = Uint8Array.from(this.written);
        }
        if (to === MigrationState.RESUMING) this.written = [];
        if (
          from === MigrationState.RUNNING ||
          from === MigrationState.RUNNING_P2P ||
          from === MigrationState.STOP
        ) {
          if (to === MigrationState.STOP_COPY || to === MigrationState.PRE_COPY) at = 0;
        }
      },
      read: (target) => {
        const piece = this.state.subarray(at, at + target.length);
        target.set(piece);
        at += piece.length;
        return piece.length;
      },
      write: (data) => this.written.push(...data),
      precopyInfo: () => ({ initialBytes: BigInt(SIZE - at), dirtyBytes: 0n }),
      dataSize: () => BigInt(SIZE),
      reset: () => {},
    };
  }
}

/** A twin, to be served; `state` is what it has. */
export function makeTwin() {
  const twin = new Twin();
  const bind = (host) => {
    const served = twin.bind(host);
    const regions = served.regions.map((region) => withSize(region, SIZES[region.index] ?? region.size));
    return overlaid(served, { regions });
  };
  return { twin, device: { bind } };
}

/** Registers that nobody touches here. */
function withSize(region, size) {
  if (region.size === size) return region;
  return overlaid(region, { size, readable: true, writable: true });
}

function overlaid(target, members) {
  return new Proxy(target, {
    get: (_, key) => {
      if (key in members) return members[key];
      const value = target[key];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
