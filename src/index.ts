/**
 * What a program embeds: write a device, serve it, drive one, move one. The rooms have more: `vfio-ferry/device`,
 * `/client`, `/server`, `/engine`, `/journal`, `/protocol`, `/states`, `/devices`.
 */
export { DeviceClient, GuestMemory, SyncDeviceClient } from './client/index.ts';
export { PciDevice } from './device/index.ts';
export { clientEnd, deviceEnd, MigrationError, type MigrationReport, migrate } from './engine/index.ts';
export { Errno, errnoName, FerryError } from './errors/index.ts';
export { type RunningServer, type ServeOptions, serveDedicated, serveDevice } from './server/index.ts';
export { MigrationFlag, MigrationState, stateName } from './states/index.ts';
