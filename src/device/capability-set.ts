import type { Capability, ExtendedCapability } from './capability.ts';
import { type CapabilityChain, chain, EXTENDED, STANDARD } from './capability-chain.ts';
import { configSizeOf, EXTENDED_CONFIG_SIZE } from './config-size.ts';
import { wrongDeclaration } from './declaration-error.ts';
import type { DeviceOptions } from './device-options.ts';
import { type ExpressDeclaration, expressCapability, MAX_PAYLOADS } from './express-capability.ts';
import { msiCapability, msixCapability } from './interrupt-capabilities.ts';
import type { MsiDeclaration } from './interrupt-declaration.ts';
import type { MsixPlacement } from './msix-placement.ts';
import { type PowerManagementDeclaration, powerManagement } from './power-management.ts';
import { serialNumberCapability } from './vendor-capabilities.ts';

/**
 * All capabilities of a device, in their places and linked; `first` is the offset of the first standard one. Throws
 * DeviceError (ERR_DEVICE_DECLARATION).
 */
export function drawCapabilities(
  options: DeviceOptions,
  msi: MsiDeclaration | null,
  msix: MsixPlacement | null,
): CapabilityChain {
  const own = builtIn(options, msi, msix);
  const { capabilities = [] } = options;
  const extended = extendedOf(options);
  checkNames([...own, ...capabilities, ...extended]);
  checkIds(capabilities);
  const standard = chain(STANDARD, [...own, ...capabilities]);
  const further = chain(EXTENDED, extended);
  if (extended.length > 0 && further.first !== EXTENDED.begin) {
    throw wrongDeclaration('the first extended capability is at 0x100, or none would be found', {
      first: further.first,
    });
  }
  return {
    first: standard.first,
    registers: [...standard.registers, ...further.registers],
    windows: [...standard.windows, ...further.windows],
  };
}

/** The capabilities that the library gives a meaning to. */
function builtIn(
  options: DeviceOptions,
  msi: MsiDeclaration | null,
  msix: MsixPlacement | null,
): readonly Capability[] {
  const power = declared<PowerManagementDeclaration>(options.powerManagement);
  const express = declared<ExpressDeclaration>(options.express);
  if (express !== null) checkExpress(express);
  return [
    ...(power === null ? [] : [powerManagement(power)]),
    ...(msi === null ? [] : [msiCapability(msi)]),
    ...(msix === null ? [] : [msixCapability(msix)]),
    ...(express === null ? [] : [expressCapability(express)]),
  ];
}

function extendedOf(options: DeviceOptions): readonly ExtendedCapability[] {
  const { serialNumber, extendedCapabilities = [] } = options;
  const extended = [
    ...(serialNumber === undefined ? [] : [serialNumberCapability(serialNumber)]),
    ...extendedCapabilities,
  ];
  const [first] = extended;
  if (first !== undefined && configSizeOf(options) !== EXTENDED_CONFIG_SIZE) {
    throw wrongDeclaration(
      `${first.name} is an extended capability, which needs 4096 bytes of configuration space`,
      {
        name: first.name,
      },
    );
  }
  return extended;
}

/** Names tell registers apart. */
function checkNames(capabilities: readonly Capability[]): void {
  const seen = new Set<string>();
  for (const { name } of capabilities) {
    if (seen.has(name)) throw wrongDeclaration(`two capabilities are called ${name}`, { name });
    seen.add(name);
  }
}

/** What an author may not declare by hand, because it means something to the library, by id. */
const OPTION_OF_ID: ReadonlyMap<number, string> = new Map([
  [0x01, 'options.powerManagement'],
  [0x05, 'interrupts.msi'],
  [0x10, 'options.express'],
  [0x11, 'interrupts.msix'],
]);

function checkIds(capabilities: readonly Capability[]): void {
  for (const { name, id } of capabilities) {
    const option = OPTION_OF_ID.get(id);
    if (option !== undefined) {
      throw wrongDeclaration(`${name}: the capability with id ${id} is declared by ${option}`, { name, id });
    }
  }
}

function checkExpress({ maxPayload = 128 }: ExpressDeclaration): void {
  if (!MAX_PAYLOADS.includes(maxPayload)) {
    throw wrongDeclaration(`the largest payload is ${MAX_PAYLOADS.join(', ')} bytes, not ${maxPayload}`, {
      maxPayload,
    });
  }
}

function declared<D extends object>(option: boolean | D | undefined): D | Record<string, never> | null {
  if (option === undefined || option === false) return null;
  return option === true ? {} : option;
}
