/*
 * Drives the edu device (docs/specs/edu.rst of QEMU) from user space.
 *
 *     edu ADDRESS registers
 *     edu ADDRESS dma ROUNDS
 *     edu ADDRESS interrupts UIO ROUNDS
 *     edu ADDRESS liveness [VALUE]
 */
#include <poll.h>

#include "pci.h"

#define IDENTIFICATION 0x00
#define LIVENESS 0x04
#define FACTORIAL 0x08
#define EDU_STATUS 0x20
#define INTERRUPT_STATUS 0x24
#define INTERRUPT_RAISE 0x60
#define INTERRUPT_ACKNOWLEDGE 0x64
#define DMA_SOURCE 0x80
#define DMA_DESTINATION 0x88
#define DMA_COUNT 0x90
#define DMA_COMMAND 0x98
#define BUFFER 0x40000
#define BUFFER_SIZE 4096

static volatile uint8_t *bar;
static int config;

static void write64(int offset, uint64_t value)
{
	*(volatile uint64_t *)(bar + offset) = value;
}

static uint64_t read64(int offset)
{
	return *(volatile uint64_t *)(bar + offset);
}

static uint32_t factorial(uint32_t n)
{
	write32(bar + FACTORIAL, n);
	while (read32(bar + EDU_STATUS) & 1)
		;
	return read32(bar + FACTORIAL);
}

static void registers(void)
{
	EXPECT(read32(bar + IDENTIFICATION), 0x010000ed);
	for (uint32_t value = 1; value; value <<= 1) {
		write32(bar + LIVENESS, value);
		EXPECT(read32(bar + LIVENESS), (uint32_t)~value);
	}
	EXPECT(factorial(0), 1);
	EXPECT(factorial(5), 120);
	EXPECT(factorial(12), 479001600);
	write64(DMA_SOURCE, 0x1122334455667788);
	EXPECT(read64(DMA_SOURCE), 0x1122334455667788);
	EXPECT(*(volatile uint16_t *)(bar + IDENTIFICATION), 0xffff);
	EXPECT(read32(bar + 0xffffc), 0xffffffff);
}

static void transfer(uint64_t from, uint64_t to, uint64_t count, int command)
{
	write64(DMA_SOURCE, from);
	write64(DMA_DESTINATION, to);
	write64(DMA_COUNT, count);
	write64(DMA_COMMAND, command | 1);
	for (int i = 0; read64(DMA_COMMAND) & 1; i++) {
		if (i == 5000)
			EXPECT(read64(DMA_COMMAND), 0);
		sleep_ms(1);
	}
}

/* Memory to the buffer and back to another page, at changing places within the page. */
static void dma(int rounds)
{
	uint8_t *from = pinned_memory(BUFFER_SIZE, 0);
	uint8_t *to = pinned_memory(BUFFER_SIZE, 0);
	for (int round = 0; round < rounds; round++) {
		size_t at = round * 37 % BUFFER_SIZE;
		size_t count = BUFFER_SIZE - at;
		fill(from, BUFFER_SIZE, round);
		memset(to, 0, BUFFER_SIZE);
		transfer(physical_address(from + at), BUFFER + at, count, 0);
		transfer(BUFFER + at, physical_address(to + at), count, 2);
		EXPECT(memcmp(from + at, to + at, count), 0);
		for (size_t i = 0; i < at; i++)
			EXPECT(to[i], 0);
	}
}

static int interrupt_pending(void)
{
	return (config_read16(config, STATUS) & STATUS_INTERRUPT) != 0;
}

/* Waits for the interrupt as uio_pci_generic counts it; it has disabled INTx then. */
static void await_interrupt(int uio, uint32_t expected)
{
	struct pollfd waiting = {.fd = uio, .events = POLLIN};
	uint32_t count;
	EXPECT(poll(&waiting, 1, 5000), 1);
	EXPECT(read(uio, &count, sizeof(count)), sizeof(count));
	EXPECT(interrupt_pending(), 1);
	EXPECT(read32(bar + INTERRUPT_STATUS), expected);
	write32(bar + INTERRUPT_ACKNOWLEDGE, expected);
	EXPECT(read32(bar + INTERRUPT_STATUS), 0);
	EXPECT(interrupt_pending(), 0);
}

static void enable_intx(void)
{
	config_write16(config, COMMAND, config_read16(config, COMMAND) & ~COMMAND_INTX_DISABLE);
}

static void interrupts(const char *path, int rounds)
{
	int uio = open(path, O_RDWR);
	if (uio < 0)
		die(path);
	for (int round = 0; round < rounds; round++) {
		enable_intx();
		write32(bar + INTERRUPT_RAISE, 1 << (round % 8));
		await_interrupt(uio, 1 << (round % 8));
	}
	enable_intx();
	write32(bar + EDU_STATUS, 0x80);
	EXPECT(factorial(4), 24);
	await_interrupt(uio, 0x001);
	write32(bar + EDU_STATUS, 0);

	enable_intx();
	transfer(physical_address(pinned_memory(BUFFER_SIZE, 0)), BUFFER, 16, 4);
	await_interrupt(uio, 0x100);

	/* Raised while the guest does not listen, delivered when it does. */
	write32(bar + INTERRUPT_RAISE, 2);
	EXPECT(interrupt_pending(), 1);
	struct pollfd quiet = {.fd = uio, .events = POLLIN};
	EXPECT(poll(&quiet, 1, 100), 0);
	enable_intx();
	await_interrupt(uio, 2);
	EXPECT(poll(&quiet, 1, 100), 0);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *what = argv[2];
	config = open_file(argv[1], "config");
	enable(config);
	bar = map_bar(argv[1], 0, 1 << 20);
	if (!strcmp(what, "registers"))
		registers();
	else if (!strcmp(what, "dma") && argc == 4)
		dma(atoi(argv[3]));
	else if (!strcmp(what, "interrupts") && argc == 5)
		interrupts(argv[3], atoi(argv[4]));
	else if (!strcmp(what, "liveness") && argc == 4)
		write32(bar + LIVENESS, strtoul(argv[3], NULL, 0));
	else if (!strcmp(what, "liveness"))
		printf("0x%08x\n", read32(bar + LIVENESS));
	else
		return 2;
	return 0;
}
