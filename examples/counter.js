// A device in fifteen lines: a register that ticks, and an interrupt every hundredth tick.
// node examples/counter.js /tmp/counter.sock
import { serveDevice } from 'vfio-ferry';
import { field, PciDevice, readOnly, u32 } from 'vfio-ferry/device';

export default class Counter extends PciDevice {
  identity = { kind: 'counter', vendor: 0x494f, device: 0x0dc8, classCode: 0xff0000 };
  state = this.migratable({ ticks: u32(), period: u32({ initial: 100 }) });
  interrupts = { msix: 1 };
  bars = {
    0: this.registers(4096, {
      0: readOnly(() => this.state.ticks),
      4: field(this.state, 'period'),
    }),
  };

  constructor() {
    super();
    this.every(10, () => {
      this.state.ticks += 1;
      if (this.state.ticks % this.state.period === 0) this.raise();
    });
  }
}

const [, script, socketPath] = process.argv;
if (socketPath !== undefined && import.meta.url === new URL(script, 'file:').href) {
  const server = serveDevice(new Counter(), { socketPath });
  console.log(`listening on ${server.socketPath}, control on ${server.controlPath}`);
  process.once('SIGTERM', () => server.close());
  process.once('SIGINT', () => server.close());
}
