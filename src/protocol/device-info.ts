import { Command } from './commands.ts';
import { flags } from './flags.ts';
import { struct, u32, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { argszAtLeast } from './rules.ts';

/** Flags of a device (linux/vfio.h, VFIO_DEVICE_FLAGS_). */
export const DeviceInfoFlag = flags(
  { RESET: 1, PCI: 2 },
  { RESET: 'DEVICE_RESET works', PCI: 'a PCI device; the only kind there is' },
);

/** DEVICE_GET_INFO in both directions (linux/vfio.h, struct vfio_device_info). */
export const DeviceInfo = struct('device info', {
  argsz: u32('request: largest reply payload; reply: bytes needed'),
  flags: u32('request: 0; reply: attributes of the device', { format: DeviceInfoFlag }),
  numRegions: u32('request: 0; reply: how many regions there are'),
  numIrqs: u32('request: 0; reply: how many types of interrupt there are'),
});

/** The value of {@link DeviceInfo}. */
export type DeviceInfo = ValueOfStruct<typeof DeviceInfo>;

/** DEVICE_GET_INFO (vfio-user.rst, VFIO_USER_DEVICE_GET_INFO). */
export const deviceGetInfo = message({
  command: Command.DEVICE_GET_INFO,
  doc: 'What kind of device it is, how many regions and interrupt types it has.',
  request: payload('DEVICE_GET_INFO request', {
    fixed: DeviceInfo,
    trailing: 'tolerated',
    rules: [argszAtLeast(DeviceInfo.size, 'kernel, vfio_pci_core.c: EINVAL')],
  }),
  reply: payload('DEVICE_GET_INFO reply', { fixed: DeviceInfo, trailing: 'tolerated' }),
});
