import { expect, it } from 'vitest';
import { addressOf, type Devices, driverOf, Ids } from './devices.ts';
import type { Guest } from './harness/guest.ts';

/** Lines of gpio-pci-idio-16: outputs first. */
const FIRST_INPUT = 16;

/** What the registers of gpio do in any guest. */
export function gpioRegisterTests(guest: () => Guest, devices: () => Devices): void {
  it('gpio answers in I/O space at each width', async () => {
    const address = await addressOf(guest(), Ids.gpio);
    const bar = `/sys/bus/pci/devices/${address}/resource2`;
    await guest().run(`echo 1 > /sys/bus/pci/devices/${address}/enable`);
    const port = async (dd: string): Promise<string> => guest().run(dd);
    await port(`printf '\\245' | dd of=${bar} bs=1 seek=0 conv=notrunc 2>/dev/null`);
    await port(`printf '\\201' | dd of=${bar} bs=1 seek=4 conv=notrunc 2>/dev/null`);
    expect(devices().gpio.outputs).toBe(0x81a5);
    const inputs = await port(`dd if=${bar} bs=1 skip=1 count=1 2>/dev/null | hexdump -v -e '/1 "%02x"'`);
    expect(inputs, 'wired to the outputs').toBe('a5');
    const word = await port(`dd if=${bar} bs=2 skip=2 count=1 2>/dev/null | hexdump -v -e '/1 "%02x"'`);
    expect(word).toBe('8181');
  });
}

/** What Linux's own driver makes of it. */
export function gpioDriverTests(guest: () => Guest, devices: () => Devices): void {
  let chip = '';

  it('gpio is driven by gpio-pci-idio-16', async () => {
    await driveGpio(guest());
    chip = await chipOf(guest());
  });

  it('gpio shows the outputs that the guest sets', async () => {
    const { gpio } = devices();
    for (const line of [0, 7, 8, 15]) {
      await guest().run(`gpio ${chip} set ${line} 1`);
      expect(gpio.outputs & (1 << line), `OUT${line}`).not.toBe(0);
      await guest().run(`gpio ${chip} set ${line} 0`);
      expect(gpio.outputs & (1 << line), `OUT${line}`).toBe(0);
    }
  });

  it('gpio shows the guest the inputs that are set outside', async () => {
    const { gpio } = devices();
    for (const input of [0, 7, 8, 15]) {
      for (const level of [true, false]) {
        gpio.setInput(input, level);
        expect(await guest().run(`gpio ${chip} get ${FIRST_INPUT + input}`)).toBe(level ? '1' : '0');
      }
    }
  });

  it('gpio interrupts at each edge of an input', async () => {
    // The driver hands each interrupt to all 16 inputs (Linux 6.4 and later: one status bit stands for all), and the
    // kernel crashes at those that nobody has ever requested.
    await guest().run(`gpio ${chip} watch ${FIRST_INPUT} 16`);
    await guest().run(`gpio ${chip} follow 0 ${FIRST_INPUT} 20`);
    await guest().run(`gpio ${chip} follow 9 ${FIRST_INPUT + 9} 20`);
  });

  it('gpio is let go', async () => {
    await letGpioGo(guest());
  });
}

/** Binds gpio to its driver. */
export async function driveGpio(guest: Guest): Promise<void> {
  await guest.load('gpio_pci_idio_16');
  expect(await driverOf(guest, await addressOf(guest, Ids.gpio))).toBe('pci-idio-16');
}

/** The device file by which a guest reaches the lines of gpio. */
export async function chipOf(guest: Guest): Promise<string> {
  return `/dev/${await guest.run(`basename /sys/bus/pci/devices/${await addressOf(guest, Ids.gpio)}/gpiochip*`)}`;
}

/** Unbinds gpio: its driver does not share its interrupt, so the devices on the same line could not have theirs. */
export async function letGpioGo(guest: Guest): Promise<void> {
  const address = await addressOf(guest, Ids.gpio);
  await guest.run(`echo ${address} > /sys/bus/pci/drivers/pci-idio-16/unbind`);
  expect(await driverOf(guest, address)).toBe('');
}
