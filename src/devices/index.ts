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
export { MemoryDevice, type MemoryDeviceOptions } from './memory.ts';
export {
  MEMORY_ID,
  MEMORY_VECTORS,
  MEMORY_VERSION,
  MemoryCommand,
  MemoryRegister,
  MemoryStatus,
} from './memory-registers.ts';
