/** Levels of printk up to KERN_WARNING (include/linux/kern_levels.h). */
const WARNING = 4;

/** What a kernel complains of on a machine like this, whatever devices do. */
const USUAL: readonly RegExp[] = [
  // The clocks of an emulated machine on a busy host.
  /\btsc\b|clocksource|APIC calibration|unstable clock/i,
  // What it says then of the clock for tracing, in four lines of which the first is matched above.
  /If you want to keep using the local clock|"trace_clock=local"|\] on the kernel command line$/,
  /\.\.MP-BIOS bug: 8254 timer/,
  /hpet: Lost \d+ RTC interrupts/,
  /ACPI: IRQ \d+ override/,
  // Its second processor, which no firmware has set up.
  /mtrr: your CPUs had inconsistent/,
  // The machine pc has none.
  /fail to add MMCONFIG information/,
  // Said of each reset through sysfs.
  /: reset(ting| done)$/,
  // A reset of an nvme by its driver cancels (EINTR) what the driver still asks after the reset before.
  /nvme nvme\d+: Identify (namespace failed \(-4\)|Descriptors failed \(nsid=\d+, status=0xfffffffc\))/,
  // Of its own register cache, before it looks at the device.
  /pci-idio-16 \S+: using zero-initialized flat cache/,
];

/** Says that something went wrong, at whatever level it is logged. */
const ALARMS = /BUG:|Oops|WARNING:|Call Trace|nobody cared|stall|hung task|AER: .*error/;

/** The lines of `dmesg -r` that a guest should not have logged. */
export function complaintsIn(log: string): readonly string[] {
  return log.split('\n').filter((line) => {
    const level = Number(/^<(\d+)>/.exec(line)?.[1] ?? 0) & 7;
    return (level <= WARNING || ALARMS.test(line)) && line !== '' && !USUAL.some((usual) => usual.test(line));
  });
}
