/** Appends records to a journal as it is told, and prints the kind of each that has become durable. */
import { errnoName } from '../../dist/errors/index.js';
import { DiskJournalFiles, Journals } from '../../dist/journal/index.js';

const [directory = '', task = ''] = process.argv.slice(2);
const journals = new Journals(new DiskJournalFiles(directory));

/** Bytes of the peer's name that make BEGIN end 30 bytes before 1024: a record has a head of 56 bytes. */
const FILL = 1024 - 30 - 56 - 20;

const journal = await journals.begin({
  kind: 'BEGIN',
  group: '00112233445566778899aabbccddeeff',
  epoch: 1n,
  role: 'sender',
  token: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  devices: [],
  peer: task === 'full' ? 'x'.repeat(FILL) : 'b',
});
process.stdout.write('BEGIN\n');

async function append(record) {
  try {
    await journal.append(record);
    process.stdout.write(`${record.kind}\n`);
  } catch (error) {
    process.stdout.write(`${error.code} ${errnoName(error.errno)} withdrawn=${error.withdrawn}\n`);
  }
}

if (task === 'full') await append({ kind: 'COMMIT', epoch: 1n });
if (task === 'wait') setInterval(() => {}, 1000);
for (let i = 0; task === 'many'; i += 1) {
  await append({ kind: 'RECOVERED', epoch: 1n, owner: 'source', who: 'a test', why: `${i}` });
}
