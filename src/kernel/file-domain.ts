import { Errno } from '../errors/index.ts';
import { DmaSpace } from './dma-space.ts';
import type { Domain, Member } from './domain.ts';
import { IommufdSpace } from './iommufd-space.ts';
import { notUsable } from './kernel-error.ts';
import { KernelFile } from './kernel-file.ts';
import type { DevicePlace } from './place.ts';
import type { KernelSystem } from './system.ts';
import { encode } from './uapi/encode.ts';
import { VfioIoctl } from './uapi/ioctls.ts';
import { AttachIommufd, BindIommufd } from './uapi/structs.ts';

/** An address space of iommufd, with the devices that are in it by their own files. */
export class FileDomain implements Domain {
  readonly way = 'cdev';
  readonly container = null;
  readonly space: DmaSpace;
  readonly #system: KernelSystem;
  readonly #iommufd: IommufdSpace;
  #devices = 0;

  /** @throws KernelError */
  constructor(system: KernelSystem) {
    this.#system = system;
    this.#iommufd = IommufdSpace.open(system);
    this.space = new DmaSpace(system, this.#iommufd);
  }

  get empty(): boolean {
    return this.#devices === 0;
  }

  enter({ name, file }: DevicePlace): Member {
    if (file === null) throw notUsable(`${name} has no file of its own: the kernel gives it by its group`);
    const device = KernelFile.open(this.#system, file);
    try {
      this.#attach(device, name);
    } catch (error) {
      device.close();
      throw error;
    }
    this.#devices += 1;
    const leave = (): void => {
      device.close();
      this.#devices -= 1;
    };
    return { device, groupFlags: null, leave };
  }

  close(): void {
    this.#iommufd.close();
  }

  #attach(device: KernelFile, name: string): void {
    const bind = { argsz: BindIommufd.size, flags: 0, iommufd: this.#iommufd.file.fd, outDevid: 0 };
    device.ioctl(
      VfioIoctl.DEVICE_BIND_IOMMUFD,
      { argument: encode(BindIommufd, bind) },
      { [Errno.EBUSY]: `another process has ${name}, or its group: end that first` },
    );
    const attachTo = { argsz: AttachIommufd.size, flags: 0, ptId: this.#iommufd.id };
    const advice = { [Errno.EINVAL]: `${name} can't share what other devices of this process reach` };
    device.ioctl(VfioIoctl.DEVICE_ATTACH_IOMMUFD_PT, { argument: encode(AttachIommufd, attachTo) }, advice);
  }
}
