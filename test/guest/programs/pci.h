/* What the test programs know of PCI: sysfs files of a device, and memory whose physical address is known. */
#ifndef PCI_H
#define PCI_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COMMAND 4
#define COMMAND_MEMORY 2
#define COMMAND_MASTER 4
#define COMMAND_INTX_DISABLE 0x400
#define STATUS 6
#define STATUS_INTERRUPT 8

#define EXPECT(value, expected)                                                                                        \
	do {                                                                                                           \
		uint64_t value_ = (value), expected_ = (expected);                                                     \
		if (value_ != expected_) {                                                                             \
			fprintf(stderr, "%s:%d: %s is 0x%llx, not 0x%llx\n", __FILE__, __LINE__, #value,               \
				(unsigned long long)value_, (unsigned long long)expected_);                            \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline int open_file(const char *address, const char *file)
{
	char path[128];
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", address, file);
	int fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		die(path);
	return fd;
}

/* Maps a memory BAR. */
static inline volatile uint8_t *map_bar(const char *address, int bar, size_t size)
{
	char file[16];
	snprintf(file, sizeof(file), "resource%d", bar);
	int fd = open_file(address, file);
	void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		die("mmap of a BAR");
	close(fd);
	return mapped;
}

static inline uint32_t read32(volatile uint8_t *at)
{
	return *(volatile uint32_t *)at;
}

static inline void write32(volatile uint8_t *at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static inline uint16_t config_read16(int config, int offset)
{
	uint16_t value;
	if (pread(config, &value, sizeof(value), offset) != sizeof(value))
		die("read of the configuration space");
	return value;
}

static inline void config_write16(int config, int offset, uint16_t value)
{
	if (pwrite(config, &value, sizeof(value), offset) != sizeof(value))
		die("write of the configuration space");
}

/* The device answers in memory space and may be bus master. */
static inline void enable(int config)
{
	config_write16(config, COMMAND, config_read16(config, COMMAND) | COMMAND_MEMORY | COMMAND_MASTER);
}

/* Memory that stays where it is: one page, or one huge page, which is contiguous for a device as well. */
static inline uint8_t *pinned_memory(size_t size, int huge)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED | (huge ? MAP_HUGETLB : 0);
	uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap of memory for DMA");
	memset(memory, 0, size);
	return memory;
}

/* Documentation/admin-guide/mm/pagemap.rst */
static inline uint64_t physical_address(const void *pointer)
{
	uint64_t entry;
	uint64_t virtual = (uintptr_t)pointer;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	if (fd < 0 || pread(fd, &entry, sizeof(entry), virtual / 4096 * sizeof(entry)) != sizeof(entry))
		die("/proc/self/pagemap");
	close(fd);
	if (!(entry >> 63) || !(entry << 9))
		die("no physical address");
	return (entry & ((1ULL << 55) - 1)) * 4096 + virtual % 4096;
}

static inline void sleep_ms(int ms)
{
	usleep(ms * 1000);
}

/* A sequence of bytes that a seed determines. */
static inline void fill(volatile uint8_t *at, size_t length, uint32_t seed)
{
	for (size_t i = 0; i < length; i++) {
		seed = seed * 1664525 + 1013904223;
		at[i] = seed >> 24;
	}
}

/* The CRC-32 of zlib. */
static inline uint32_t crc32(volatile const uint8_t *at, size_t length)
{
	uint32_t crc = ~0u;
	for (size_t i = 0; i < length; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

#endif
