import type { Capability } from './capability.ts';
import type { ConfigRegister } from './configuration-space.ts';
import type { MsiDeclaration } from './interrupt-declaration.ts';
import type { MsixPlacement } from './msix-placement.ts';

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
