import { createHash, randomBytes } from 'node:crypto';
import { expect, it, vi } from 'vitest';
import type { SerialBench } from '../devices/serial-bench.ts';
import { addressOf, type Devices, driverOf, Ids } from './devices.ts';
import type { Guest } from './harness/guest.ts';

/** Each register access is a message between three processes. */
const TRANSFER_TIMEOUT = 100_000;

/** What Linux's 8250_pci makes of serial. */
export function serialTests(guest: () => Guest, devices: () => Devices, bytes: number): void {
  it('serial is a ttyS of 8250_pci, a 16550A', async () => {
    const address = await addressOf(guest(), Ids.serial);
    expect(await driverOf(guest(), address)).toBe('serial');
    const { output } = await guest().attempt(`dmesg | grep ${address}: | grep tty`);
    expect(output).toMatch(/is a 16550A$/);
  });

  it('serial takes the settings of stty', async () => {
    const tty = await ttyOf(guest(), Ids.serial);
    await guest().run(`stty -F ${tty} 57600 cs7 parenb -parodd cstopb`);
    expect(devices().serial.settings).toEqual({ baud: 57600, dataBits: 7, parity: 'even', stopBits: 2 });
    await guest().run(`stty -F ${tty} 115200 cs8 -parenb -cstopb`);
    expect(devices().serial.settings).toEqual({ baud: 115200, dataBits: 8, parity: 'none', stopBits: 1 });
  });

  it('serial carries bytes both ways and loses none', async () => {
    await expectTransfers(guest(), await ttyOf(guest(), Ids.serial), devices().bench, bytes);
  });

  it('serial is a terminal for somebody at its other end', async () => {
    const tty = await ttyOf(guest(), Ids.serial);
    const { bench } = devices();
    bench.forget();
    await guest().run(`stty -F ${tty} sane crtscts`);
    const shown = () => Buffer.from(bench.sent).toString();
    const login = 'printf "login: "; read -r name; printf "welcome, %s\\n" "$name"';
    const ended = guest().run(`( ${login} ) <${tty} >${tty}`);
    await vi.waitUntil(() => shown() === 'login: ', { timeout: 10_000 });
    bench.send(Buffer.from('ferry\r'));
    await ended;
    expect(shown()).toBe('login: ferry\r\nwelcome, ferry\r\n');
  });
}

/** What it makes of one with MSI-X. */
export function msixSerialTests(guest: () => Guest, devices: () => Devices): void {
  it('a serial with MSI-X interrupts by it', async () => {
    const address = await addressOf(guest(), Ids.msixSerial);
    const tty = await ttyOf(guest(), Ids.msixSerial);
    await expectTransfers(guest(), tty, devices().msixBench, 4096);
    const line = await guest().run(`exec 3<>${tty}; echo >&3; grep ${address} /proc/interrupts`);
    expect(line).toMatch(/MSI-?X/);
    expect(Number(/:\s+(\d+)/.exec(line)?.[1])).toBeGreaterThan(0);
  });
}

/** The terminal that a guest makes of a serial device. */
export async function ttyOf(guest: Guest, id: string): Promise<string> {
  const address = await addressOf(guest, id);
  return `/dev/${await guest.run(`basename /sys/bus/pci/devices/${address}/*/*/tty/ttyS*`)}`;
}

async function expectTransfers(guest: Guest, tty: string, bench: SerialBench, bytes: number): Promise<void> {
  await guest.run(`stty -F ${tty} raw -echo crtscts`);
  const data = randomBytes(bytes);
  bench.send(data);
  const received = await guest.run(`head -c ${bytes} ${tty} | sha256sum`, TRANSFER_TIMEOUT);
  expect(received.split(' ')[0]).toBe(sha256(data));
  expect(bench.waiting).toBe(0);

  bench.forget();
  const file = '/tmp/random';
  const sent = await guest.run(
    `head -c ${bytes} /dev/urandom > ${file}; cat ${file} > ${tty}; sha256sum ${file}`,
    TRANSFER_TIMEOUT,
  );
  expect(bench.sent).toHaveLength(bytes);
  expect(sha256(Buffer.from(bench.sent))).toBe(sent.split(' ')[0]);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
