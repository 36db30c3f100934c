/*
 * Uses GPIO lines through the character device (include/uapi/linux/gpio.h, version 2).
 *
 *     gpio CHIP get LINE
 *     gpio CHIP set LINE VALUE
 *     gpio CHIP watch LINE COUNT             requests the edges of so many lines once
 *     gpio CHIP follow OUTPUT INPUT ROUNDS   toggles an output that is wired to an input, and counts its edges
 */
#include <linux/gpio.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "pci.h"

static int chip;

#define EDGES (GPIO_V2_LINE_FLAG_INPUT | GPIO_V2_LINE_FLAG_EDGE_RISING | GPIO_V2_LINE_FLAG_EDGE_FALLING)

static int request_all(unsigned first, unsigned count, uint64_t flags)
{
	struct gpio_v2_line_request request = {.consumer = "ferry", .config = {.flags = flags}, .num_lines = count};
	for (unsigned i = 0; i < count; i++)
		request.offsets[i] = first + i;
	if (ioctl(chip, GPIO_V2_GET_LINE_IOCTL, &request) < 0)
		die("GPIO_V2_GET_LINE_IOCTL");
	return request.fd;
}

static int request(unsigned line, uint64_t flags)
{
	return request_all(line, 1, flags);
}

static int get(int line)
{
	struct gpio_v2_line_values values = {.mask = 1};
	if (ioctl(line, GPIO_V2_LINE_GET_VALUES_IOCTL, &values) < 0)
		die("GPIO_V2_LINE_GET_VALUES_IOCTL");
	return values.bits & 1;
}

static void set(int line, int value)
{
	struct gpio_v2_line_values values = {.mask = 1, .bits = value};
	if (ioctl(line, GPIO_V2_LINE_SET_VALUES_IOCTL, &values) < 0)
		die("GPIO_V2_LINE_SET_VALUES_IOCTL");
}

static void follow(int output, int input, int rounds)
{
	int driven = request(output, GPIO_V2_LINE_FLAG_OUTPUT);
	int watched = request(input, EDGES);
	struct pollfd waiting = {.fd = watched, .events = POLLIN};
	for (int round = 0; round < 2 * rounds; round++) {
		struct gpio_v2_line_event event;
		int value = !(round & 1);
		set(driven, value);
		EXPECT(poll(&waiting, 1, 5000), 1);
		EXPECT(read(watched, &event, sizeof(event)), sizeof(event));
		EXPECT(event.id, value ? GPIO_V2_LINE_EVENT_RISING_EDGE : GPIO_V2_LINE_EVENT_FALLING_EDGE);
		EXPECT(event.line_seqno, round + 1);
		EXPECT(get(watched), value);
	}
	EXPECT(poll(&waiting, 1, 100), 0);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	chip = open(argv[1], O_RDWR);
	if (chip < 0)
		die(argv[1]);
	const char *what = argv[2];
	if (!strcmp(what, "get"))
		printf("%d\n", get(request(atoi(argv[3]), GPIO_V2_LINE_FLAG_INPUT)));
	else if (!strcmp(what, "set") && argc == 5)
		set(request(atoi(argv[3]), GPIO_V2_LINE_FLAG_OUTPUT), atoi(argv[4]));
	else if (!strcmp(what, "watch") && argc == 5)
		close(request_all(atoi(argv[3]), atoi(argv[4]), EDGES));
	else if (!strcmp(what, "follow") && argc == 6)
		follow(atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	else
		return 2;
	return 0;
}
