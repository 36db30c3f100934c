import { describe, expect, it } from 'vitest';
import { readQemuArguments } from '../../src/doctor/qemu-command-line.ts';

describe('the command line of QEMU', () => {
  it.each([
    [['-object', 'memory-backend-memfd,id=m,size=1G'], []],
    [['-object', 'memory-backend-memfd,id=m,size=1G,share=off'], ['memory-backend-memfd "m"']],
    [['-object', 'memory-backend-file,id=f,mem-path=/x'], ['memory-backend-file "f"']],
    [['-object', 'memory-backend-file,id=f,mem-path=/x,share=on'], []],
    [['-object', 'memory-backend-ram,size=1G'], ['memory-backend-ram']],
    [['-object', '{"qom-type":"memory-backend-memfd","id":"m","share":false}'], ['memory-backend-memfd "m"']],
    [['-object', '{"qom-type":"memory-backend-memfd","id":"m","share":true}'], []],
    [['-object', '{broken'], []],
  ])('%j shares all but %j', (args, privateBackends) => {
    expect(readQemuArguments(args).privateBackends).toEqual(privateBackends);
  });

  it('tells whether there is a memory backend at all', () => {
    expect(readQemuArguments(['-m', '512']).noBackend).toBe(true);
    expect(readQemuArguments(['-object', 'memory-backend-memfd,id=m']).noBackend).toBe(false);
  });

  it.each([
    [['-device', 'intel-iommu,intremap=on'], 'intel-iommu'],
    [['-device', '{"driver":"virtio-iommu-pci"}'], 'virtio-iommu-pci'],
    [['-device', 'virtio-net-pci'], null],
  ])('%j has the IOMMU %s', (args, viommu) => {
    expect(readQemuArguments(args).viommu).toBe(viommu);
  });

  it.each([
    [['-machine', 'q35,memory-backend=m'], 'q35'],
    [['-M', 'type=pc-q35-11.1'], 'q35'],
    [['-machine', 'pc-i440fx-9.0'], 'pc'],
    [['-machine', 'memory-backend=m'], null],
    [[], null],
  ])('%j is the machine %s', (args, machine) => {
    expect(readQemuArguments(args).machine).toBe(machine);
  });
});
