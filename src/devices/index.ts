export {
  EDU_BUFFER,
  EDU_BUFFER_SIZE,
  EDU_IDENTIFICATION,
  Edu,
  EduDmaCommand,
  EduInterrupt,
  type EduOptions,
  EduRegister,
  EduStatus,
} from './edu.ts';
export { GPIO_LINES, Gpio, GpioInterrupt, type GpioOptions, GpioRegister } from './gpio.ts';
export { MemoryDevice, type MemoryDeviceOptions } from './memory.ts';
export {
  MEMORY_ID,
  MEMORY_VECTORS,
  MEMORY_VERSION,
  MemoryCommand,
  MemoryRegister,
  MemoryStatus,
} from './memory-registers.ts';
export { type NamespaceBackend, NvmeDevice, type NvmeOptions } from './nvme/index.ts';
export { Serial, type SerialOptions, type SerialSettings } from './serial.ts';
export { NO_BACKEND, type SerialBackend } from './serial-backend.ts';
export {
  SERIAL_BASE_BAUD,
  SERIAL_FIFO_SIZE,
  SERIAL_FIFOS_ENABLED,
  SERIAL_TRIGGER_LEVELS,
  SerialCause,
  SerialEnable,
  SerialFifo,
  SerialLine,
  SerialLineStatus,
  SerialModemControl,
  SerialModemStatus,
  SerialRegister,
} from './serial-registers.ts';
