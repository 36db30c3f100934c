import {
  type Capability,
  type DeviceOptions,
  PciDevice,
  u32,
  vendorSpecific,
  vendorSpecificExtended,
} from '../../src/device/index.ts';

/** A device with every register that a configuration space can have. */
export class Full extends PciDevice {
  readonly identity = { kind: 'full', vendor: 0x494f, device: 0x0dc8, classCode: 0x010802, revision: 3 };
  readonly state = this.migratable({ own: u32({ initial: 0x0403_0201 }), kicked: u32() });
  readonly bars = { 0: this.registers(4096, { 0: { read: () => 0x5a, write: () => this.kick() } }) };
  readonly interrupts = { intx: true, msi: { vectors: 4, maskable: true }, msix: 2 };
  override readonly options: DeviceOptions;
  readonly accesses: [string, number, number][] = [];

  constructor(options: DeviceOptions = {}) {
    super();
    this.options = {
      express: { maxPayload: 512 },
      powerManagement: true,
      rom: Uint8Array.of(0x55, 0xaa, 1),
      serialNumber: 0x0123_4567_89ab_cdefn,
      capabilities: [
        vendorSpecific({ bytes: Uint8Array.of(0xa0, 0xb0, 0xc0), writable: Uint8Array.of(0, 0x0f, 0xff) }),
        this.#own('OWN', 0x0d, 2),
      ],
      extendedCapabilities: [
        vendorSpecificExtended({
          id: 7,
          bytes: Uint8Array.of(1, 2, 3, 4, 5),
          writable: Uint8Array.of(0, 0xff, 0, 0xf0, 0),
          offset: 0x400,
        }),
        {
          name: 'ERRORS',
          id: 0x1111,
          size: 12,
          registers: [
            { name: 'STATUS', offset: 4, size: 4, reset: 0xff00_ff00, clearable: 0xf0f0_f0f0 },
            { name: 'MASK', offset: 8, size: 4, reset: 1, writable: 0x8000_0001 },
          ],
        },
        this.#own('OWN_EXTENDED', 0x2222, 4),
      ],
      ...options,
    };
  }

  protected override work(): void {
    this.state.kicked += 1;
  }

  /** Four bytes behind callbacks, which ask for work; both capabilities show the same. */
  #own(name: string, id: number, header: number): Capability {
    return {
      name,
      id,
      size: header + 4,
      callbacks: {
        read: (offset, target, at, length) => {
          this.accesses.push(['read', offset, length]);
          for (let i = 0; i < length; i++) target[at + i] = this.state.own >>> (8 * (offset + i - header));
        },
        write: (offset, source, at, length) => {
          this.accesses.push(['write', offset, length]);
          for (let i = 0; i < length; i++) {
            const shift = 8 * (offset + i - header);
            this.state.own = (this.state.own & ~(0xff << shift)) | ((source[at + i] ?? 0) << shift);
          }
          this.kick();
        },
      },
    };
  }
}

/** Where the capabilities of {@link Full} lie, in its declarations' order. */
export const PLACE = {
  pm: 0x40,
  msi: 0x48,
  msix: 0x60,
  express: 0x6c,
  vendor: 0xa8,
  own: 0xb0,
  serial: 0x100,
  errors: 0x10c,
  ownExtended: 0x118,
  vsec: 0x400,
} as const;
