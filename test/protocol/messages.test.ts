import { expect, it } from 'vitest';
import { Command, commandName, messageOf, messages } from '../../src/protocol/index.ts';

it('declares every command once, in the order of the numbers', () => {
  expect(messages.map(({ command }) => command)).toEqual(Object.values(Command).toSorted((a, b) => a - b));
});

it.each(messages.map((message) => ({ name: message.name, message })))(
  'finds and labels $name',
  ({ name, message }) => {
    expect(messageOf(message.command)).toBe(message);
    expect(commandName(message.command)).toBe(name);
    expect([message.request.label, message.reply.label]).toEqual([`${name} request`, `${name} reply`]);
    expect(message.doc).toMatch(/^[A-Z].*\.$/);
  },
);

it('has the numbers and sizes of the text', () => {
  const facts = messages.map(({ name, command, request, reply }) => [
    command,
    name,
    request.minSize,
    reply.minSize,
  ]);
  expect(facts).toEqual([
    [1, 'VERSION', 4, 4],
    [2, 'DMA_MAP', 32, 0],
    [3, 'DMA_UNMAP', 24, 24],
    [4, 'DEVICE_GET_INFO', 16, 16],
    [5, 'DEVICE_GET_REGION_INFO', 32, 32],
    [6, 'DEVICE_GET_REGION_IO_FDS', 16, 16],
    [7, 'DEVICE_GET_IRQ_INFO', 16, 16],
    [8, 'DEVICE_SET_IRQS', 20, 0],
    [9, 'REGION_READ', 16, 16],
    [10, 'REGION_WRITE', 16, 16],
    [11, 'DMA_READ', 16, 16],
    [12, 'DMA_WRITE', 16, 12],
    [13, 'DEVICE_RESET', 0, 0],
    [15, 'REGION_WRITE_MULTI', 8, 8],
    [16, 'DEVICE_FEATURE', 8, 8],
    [17, 'MIG_DATA_READ', 8, 8],
    [18, 'MIG_DATA_WRITE', 8, 0],
    [0xfe01, 'FERRY_PRECOPY_INFO', 8, 24],
    [0xfe02, 'FERRY_INSPECT', 8, 8],
    [0xfe03, 'FERRY_CLAIM', 40, 56],
    [0xfe04, 'FERRY_RECONNECTION', 16, 24],
    [0xfe05, 'FERRY_SWITCHOVER', 24, 16],
    [0xfe06, 'FERRY_HANDOVER', 8, 8],
  ]);
});

it('lets only the server read and write guest memory', () => {
  expect(messages.filter(({ sender }) => sender === 'server').map(({ name }) => name)).toEqual([
    'DMA_READ',
    'DMA_WRITE',
  ]);
});

it('knows no command 0, 14 or 19', () => {
  expect([0, 14, 19].map(messageOf)).toEqual([undefined, undefined, undefined]);
  expect(commandName(14)).toBe('command 14');
});
