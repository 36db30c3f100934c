// Prints the transcript of two devices (test/kernel/programs/transcript.js), run with their names.
import { KernelDevice } from '../../../dist/kernel/index.js';
import { loadNative } from '../../../dist/native/index.js';
import { transcript } from '../../kernel/programs/transcript.js';

const [first = '', second = ''] = process.argv.slice(2);
const a = await KernelDevice.open(first);
const b = await KernelDevice.open(second);
for (const line of await transcript(a, b, loadNative())) console.log(line);
a.close();
b.close();
