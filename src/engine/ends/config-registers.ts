import { WithheldAction } from '../../channel/index.ts';

/** A register of configuration space that is set up at the destination, as data. */
export interface SetupRegister {
  readonly name: string;
  /** Bytes from the beginning of the header or of the capability. */
  readonly offset: number;
  readonly size: 1 | 2 | 4;
  /** Bits that are written as 0 always: what they do when written as 1 has been done at the source. */
  readonly never?: number;
  /** What waits for an action, and what these bits are written as until then; none unless given. */
  readonly waits?: readonly WithheldBits[];
  /** Where it is specified. */
  readonly source: string;
}

/** Bits of a register that wait for an action. */
export interface WithheldBits {
  /** A bit of WithheldAction. */
  readonly action: number;
  readonly bits: number;
  /** Written until the action is due. */
  readonly meanwhile: 'clear' | 'set';
}

const { INTERRUPTS, DMA } = WithheldAction;

const PCI = 'PCI Local Bus 3.0';

/**
 * The header of type 0, in the order in which it is written: the addresses first. COMMAND is not among them, since it
 * comes last. What can't be written there is who the device is, and is compared.
 */
export const HEADER_SETUP: readonly SetupRegister[] = [
  ...[0, 1, 2, 3, 4, 5].map(
    (bar): SetupRegister => ({
      name: `BAR${bar}`,
      offset: 0x10 + 4 * bar,
      size: 4,
      source: `${PCI}, 6.2.5.1`,
    }),
  ),
  { name: 'EXPANSION_ROM', offset: 0x30, size: 4, source: `${PCI}, 6.2.5.2` },
  { name: 'CACHE_LINE_SIZE', offset: 0x0c, size: 1, source: `${PCI}, 6.2.4` },
  { name: 'LATENCY_TIMER', offset: 0x0d, size: 1, source: `${PCI}, 6.2.4` },
  { name: 'INTERRUPT_LINE', offset: 0x3c, size: 1, source: `${PCI}, 6.2.4` },
];

/** Written when everything else is: it lets the device answer at its addresses, master the bus, and assert INTx. */
export const COMMAND_SETUP: SetupRegister = {
  name: 'COMMAND',
  offset: 0x04,
  size: 2,
  waits: [
    { action: DMA, bits: 0x0004, meanwhile: 'clear' },
    { action: INTERRUPTS, bits: 0x0400, meanwhile: 'set' },
  ],
  source: `${PCI}, 6.2.2: bit 2 bus master, bit 10 interrupt disable`,
};

/** A capability whose registers are set up. */
export interface SetupCapability {
  readonly id: number;
  /** The bit of its control word that says that addresses have 64 bits; registers behind them move by 4. */
  readonly registers: (control: number) => readonly SetupRegister[];
}

/** In the order in which they are written. Others (vendor specific, extended) belong into the device's own data. */
export const CAPABILITY_SETUP: readonly SetupCapability[] = [
  {
    id: 0x10,
    registers: (control) => [
      {
        name: 'PCI Express device control',
        offset: 0x08,
        size: 2,
        never: 0x8000,
        source: 'PCI Express Base 5.0, 7.5.3.4: bit 15 initiates a function level reset',
      },
      // Version 1 of the capability has no second set of registers.
      ...((control & 0xf) >= 2
        ? [
            {
              name: 'PCI Express device control 2',
              offset: 0x28,
              size: 2,
              source: 'PCI Express Base 5.0, 7.5.3.16',
            } as const,
          ]
        : []),
    ],
  },
  {
    id: 0x01,
    registers: () => [
      {
        name: 'power management control',
        offset: 0x04,
        size: 2,
        never: 0x8000,
        source: 'PCI Power Management 1.2, 3.2.4: bit 15 is cleared by writing 1',
      },
    ],
  },
  { id: 0x05, registers: msiRegisters },
  {
    id: 0x11,
    registers: () => [
      {
        name: 'MSI-X control',
        offset: 0x02,
        size: 2,
        waits: [{ action: INTERRUPTS, bits: 0x8000, meanwhile: 'clear' }],
        source: `${PCI}, 6.8.2.3: bit 15 enables`,
      },
    ],
  },
];

/** The layout follows from the control word: 64-bit addresses and masks are optional (PCI 3.0, 6.8.1). */
function msiRegisters(control: number): readonly SetupRegister[] {
  const isWide = (control & 0x80) !== 0;
  const isMaskable = (control & 0x100) !== 0;
  const data = isWide ? 0x0c : 0x08;
  const source = `${PCI}, 6.8.1`;
  return [
    { name: 'MSI address', offset: 0x04, size: 4, source },
    ...(isWide ? [{ name: 'MSI address, high half', offset: 0x08, size: 4, source } as const] : []),
    { name: 'MSI data', offset: data, size: 2, source },
    ...(isMaskable ? [{ name: 'MSI mask', offset: data + 4, size: 4, source } as const] : []),
    {
      name: 'MSI control',
      offset: 0x02,
      size: 2,
      waits: [{ action: INTERRUPTS, bits: 0x0001, meanwhile: 'clear' }],
      source: `${PCI}, 6.8.1.3: bit 0 enables`,
    },
  ];
}

/** What tells two devices apart: it can't be written, and has to be equal. Bytes of the header. */
export const HEADER_IDENTITY: readonly {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}[] = [
  { name: 'vendor', offset: 0x00, size: 2 },
  { name: 'device', offset: 0x02, size: 2 },
  { name: 'revision and class code', offset: 0x08, size: 4 },
  { name: 'header type', offset: 0x0e, size: 1 },
  { name: 'subsystem', offset: 0x2c, size: 4 },
  { name: 'interrupt pin', offset: 0x3d, size: 1 },
];
