import type { ConfigRegister } from './configuration-space.ts';
import type { MsiDeclaration } from './interrupt-declaration.ts';
import type { MsixPlacement } from './msix-placement.ts';
import { HEADER_SIZE } from './type0-header.ts';

/** A PCI capability as data. Its registers' offsets count from its start, where its id and next pointer are. */
export interface Capability {
  /** Such as `MSI`; its registers are called `MSI.CONTROL` and so on. */
  readonly name: string;
  /** Capability id. */
  readonly id: number;
  /** Bytes. */
  readonly size: number;
  readonly registers: readonly ConfigRegister[];
}

/** MSI message control (PCI 3.0, section 6.8.1.3). */
export const MsiControl = {
  ENABLE: 1,
  ALLOCATED_SHIFT: 4,
  ALLOCATED_MASK: 0x70,
  ADDRESS64: 0x80,
  MASKABLE: 0x100,
} as const;

/** MSI-X message control (section 6.8.2.3). */
export const MsixControl = { FUNCTION_MASK: 0x4000, ENABLE: 0x8000 } as const;

/** Power management, version 3 with D0 and D3hot and without PME; a change of power state resets nothing. */
export const POWER_MANAGEMENT: Capability = {
  name: 'PM',
  id: 0x01,
  size: 8,
  registers: [
    { name: 'CAPABILITIES', offset: 2, size: 2, reset: 0x0003 },
    { name: 'CONTROL', offset: 4, size: 2, reset: 0x0008, writable: 0x0003 },
  ],
};

/**
 * PCI Express, version 2, an endpoint on a 2.5 GT/s x1 link (PCI Express Base Specification, section 7.5.3). Relaxed
 * ordering, no snoop and 512-byte read requests are on after reset.
 */
export const PCI_EXPRESS: Capability = {
  name: 'EXPRESS',
  id: 0x10,
  size: 0x3c,
  registers: [
    { name: 'CAPABILITIES', offset: 0x02, size: 2, reset: 0x0002 },
    { name: 'DEVICE_CAPABILITIES', offset: 0x04, size: 4, reset: 0x8000 },
    { name: 'DEVICE_CONTROL', offset: 0x08, size: 2, reset: 0x2810, writable: 0x78ff },
    { name: 'DEVICE_STATUS', offset: 0x0a, size: 2, clearable: 0x000f },
    { name: 'LINK_CAPABILITIES', offset: 0x0c, size: 4, reset: 0x0011 },
    { name: 'LINK_CONTROL', offset: 0x10, size: 2, writable: 0x00c3 },
    { name: 'LINK_STATUS', offset: 0x12, size: 2, reset: 0x0011 },
  ],
};

/** MSI: a control word, the message, and with per-vector masking the mask and pending bits (PCI 3.0, section 6.8.1). */
export function msiCapability({ vectors, address64 = true, maskable = false }: MsiDeclaration): Capability {
  const control =
    (Math.log2(vectors) << 1) | (address64 ? MsiControl.ADDRESS64 : 0) | (maskable ? MsiControl.MASKABLE : 0);
  const data = address64 ? 12 : 8;
  const allVectors = vectors === 32 ? 0xffffffff : 2 ** vectors - 1;
  const registers: ConfigRegister[] = [
    {
      name: 'CONTROL',
      offset: 2,
      size: 2,
      reset: control,
      writable: MsiControl.ENABLE | MsiControl.ALLOCATED_MASK,
    },
    { name: 'ADDRESS', offset: 4, size: 4, writable: 0xfffffffc },
    { name: 'DATA', offset: data, size: 2, writable: 0xffff },
  ];
  if (address64) registers.push({ name: 'ADDRESS_HIGH', offset: 8, size: 4, writable: 0xffffffff });
  if (maskable) {
    registers.push({ name: 'MASK', offset: data + 4, size: 4, writable: allVectors });
    registers.push({ name: 'PENDING', offset: data + 8, size: 4, volatile: allVectors });
  }
  return { name: 'MSI', id: 0x05, size: maskable ? data + 12 : data + 2, registers };
}

/** MSI-X: a control word and where table and pending bits are (PCI 3.0, section 6.8.2). */
export function msixCapability({ vectors, bar, table, pba }: MsixPlacement): Capability {
  const writable = MsixControl.ENABLE | MsixControl.FUNCTION_MASK;
  return {
    name: 'MSIX',
    id: 0x11,
    size: 12,
    registers: [
      { name: 'CONTROL', offset: 2, size: 2, reset: vectors - 1, writable },
      { name: 'TABLE', offset: 4, size: 4, reset: table | bar },
      { name: 'PBA', offset: 8, size: 4, reset: pba | bar },
    ],
  };
}

/** Capabilities are aligned to this. */
const ALIGNMENT = 4;

/** Chains capabilities behind the header, in this order. `first` is 0 without any. */
export function chain(capabilities: readonly Capability[]): {
  first: number;
  registers: readonly ConfigRegister[];
} {
  let offset = HEADER_SIZE;
  const placed = capabilities.map((capability) => {
    const at = offset;
    offset += Math.ceil(capability.size / ALIGNMENT) * ALIGNMENT;
    return { capability, at };
  });
  const registers = placed.flatMap(({ capability, at }, i) => place(capability, at, placed[i + 1]?.at ?? 0));
  return { first: placed[0]?.at ?? 0, registers };
}

function place({ name, id, registers }: Capability, at: number, next: number): readonly ConfigRegister[] {
  return [
    { name: `${name}.ID`, offset: at, size: 1, reset: id },
    { name: `${name}.NEXT`, offset: at + 1, size: 1, reset: next },
    ...registers.map((register) => ({
      ...register,
      name: `${name}.${register.name}`,
      offset: at + register.offset,
    })),
  ];
}
