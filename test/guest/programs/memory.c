/*
 * Drives the memory device of Ferry from user space.
 *
 *     memory ADDRESS fill SEED LENGTH      fills the start of its memory; prints the CRC-32
 *     memory ADDRESS crc LENGTH            prints the CRC-32 of the start of its memory
 *     memory ADDRESS checksum SEED         lets it read 2 MiB of this guest's memory
 *     memory ADDRESS msix                  uses its vectors
 */
#include "pci.h"

#define ID 0x00
#define DMA_ADDRESS_LOW 0x10
#define DMA_ADDRESS_HIGH 0x14
#define DMA_LENGTH 0x18
#define DEVICE_COMMAND 0x1c
#define DEVICE_STATUS 0x20
#define RESULT 0x24
#define DEVICE_ERROR 0x28
#define DOORBELL 0x3c
#define VECTORS 4

#define MSIX_CAPABILITY 0x11
#define MSIX_ENABLE 0x8000
#define MSIX_FUNCTION_MASK 0x4000
#define ENTRY_SIZE 16
#define ENTRY_CONTROL 12

#define HUGE_PAGE (2 << 20)

static volatile uint8_t *bar;
static int config;
static const char *address;

static volatile uint8_t *memory(size_t length)
{
	return map_bar(address, 2, length);
}

/*
 * Nobody serves INTx here. It must not stay asserted: another device may share the line, and QEMU traps each access to
 * what it has mapped until the guest has served it (vfio_intx_interrupt in hw/vfio/pci.c).
 */
static void disable_intx(void)
{
	config_write16(config, COMMAND, config_read16(config, COMMAND) | COMMAND_INTX_DISABLE);
}

static void checksum(uint32_t seed)
{
	uint8_t *buffer = pinned_memory(HUGE_PAGE, 1);
	fill(buffer, HUGE_PAGE, seed);
	uint64_t at = physical_address(buffer);
	write32(bar + DMA_ADDRESS_LOW, at);
	write32(bar + DMA_ADDRESS_HIGH, at >> 32);
	write32(bar + DMA_LENGTH, HUGE_PAGE);
	write32(bar + DEVICE_STATUS, ~0u);
	write32(bar + DEVICE_COMMAND, 1);
	for (int i = 0; !(read32(bar + DEVICE_STATUS) & 2) && i < 5000; i++)
		sleep_ms(1);
	EXPECT(read32(bar + DEVICE_ERROR), 0);
	EXPECT(read32(bar + DEVICE_STATUS), 2);
	EXPECT(read32(bar + RESULT), crc32(buffer, HUGE_PAGE));
}

static int find_capability(uint8_t id)
{
	for (int at = config_read16(config, 0x34) & 0xff; at != 0; at = config_read16(config, at) >> 8) {
		if ((config_read16(config, at) & 0xff) == id)
			return at;
	}
	EXPECT(0, id);
	return 0;
}

/* Whether the message of a vector has arrived; it is taken away. */
static int arrived(volatile uint32_t *messages, int vector, int wait_ms)
{
	for (int i = 0; i <= wait_ms; i++) {
		if (messages[vector] != 0) {
			EXPECT(messages[vector], 0xabc0 + vector);
			messages[vector] = 0;
			return 1;
		}
		sleep_ms(1);
	}
	return 0;
}

static void ring(int vector)
{
	write32(bar + DOORBELL, vector);
}

/*
 * A message signalled interrupt is a write to memory. Here it goes to a page of this program instead of to an
 * interrupt controller, so that each single message is seen.
 */
static void msix(void)
{
	volatile uint32_t *messages = (volatile uint32_t *)pinned_memory(4096, 0);
	uint64_t target = physical_address((void *)messages);
	int at = find_capability(MSIX_CAPABILITY);
	uint16_t control = config_read16(config, at + 2);
	EXPECT(control & 0x7ff, VECTORS - 1);
	uint32_t location = config_read16(config, at + 4);
	volatile uint8_t *table = map_bar(address, location & 7, 4096) + (location & ~7u);
	for (int vector = 0; vector < VECTORS; vector++) {
		volatile uint8_t *entry = table + vector * ENTRY_SIZE;
		write32(entry, target + vector * sizeof(uint32_t));
		write32(entry + 4, target >> 32);
		write32(entry + 8, 0xabc0 + vector);
		write32(entry + ENTRY_CONTROL, 0);
	}
	config_write16(config, at + 2, control | MSIX_ENABLE);

	for (int vector = 0; vector < VECTORS; vector++) {
		ring(vector);
		for (int other = 0; other < VECTORS; other++)
			EXPECT(arrived(messages, other, other == vector ? 5000 : 5), other == vector);
	}

	volatile uint8_t *mask = table + 1 * ENTRY_SIZE + ENTRY_CONTROL;
	write32(mask, 1);
	ring(1);
	ring(3);
	EXPECT(arrived(messages, 1, 50), 0);
	EXPECT(arrived(messages, 3, 5000), 1);
	write32(mask, 0);
	EXPECT(arrived(messages, 1, 5000), 1);

	config_write16(config, at + 2, control | MSIX_ENABLE | MSIX_FUNCTION_MASK);
	ring(0);
	ring(2);
	EXPECT(arrived(messages, 0, 50), 0);
	EXPECT(arrived(messages, 2, 5), 0);
	config_write16(config, at + 2, control | MSIX_ENABLE);
	EXPECT(arrived(messages, 0, 5000), 1);
	EXPECT(arrived(messages, 2, 5000), 1);

	for (int i = 0; i < 100; i++) {
		ring(i % VECTORS);
		EXPECT(arrived(messages, i % VECTORS, 5000), 1);
	}
	config_write16(config, at + 2, control);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *what = argv[2];
	address = argv[1];
	config = open_file(address, "config");
	enable(config);
	disable_intx();
	bar = map_bar(address, 0, 4096);
	EXPECT(read32(bar + ID), 0x4d454d46);
	if (!strcmp(what, "fill") && argc == 5) {
		size_t length = strtoul(argv[4], NULL, 0);
		fill(memory(length), length, strtoul(argv[3], NULL, 0));
		printf("%u\n", crc32(memory(length), length));
	} else if (!strcmp(what, "crc") && argc == 4) {
		size_t length = strtoul(argv[3], NULL, 0);
		printf("%u\n", crc32(memory(length), length));
	} else if (!strcmp(what, "checksum") && argc == 4)
		checksum(strtoul(argv[3], NULL, 0));
	else if (!strcmp(what, "msix"))
		msix();
	else
		return 2;
	return 0;
}
