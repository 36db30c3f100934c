export type { NamespaceBackend } from './namespace.ts';
export { NvmeDevice, type NvmeOptions } from './nvme.ts';
