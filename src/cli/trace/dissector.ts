import { Command } from 'commander';
import { renderDissector } from '../../trace/index.ts';

const HELP = `
It is written from the same declarations of the protocol as everything else, and made for what \`ferry trace -w\` records.

Examples:
  ferry trace dissector > vfio-user.lua
  tshark -X lua_script:vfio-user.lua -r recording.pcapng
  ferry trace dissector > ~/.local/lib/wireshark/plugins/vfio-user.lua     and Wireshark knows it`;

/** `ferry trace dissector`. */
export function dissectorCommand(): Command {
  return new Command('dissector')
    .description('print a dissector for Wireshark and tshark, in Lua')
    .addHelpText('after', HELP)
    .action(() => void process.stdout.write(renderDissector()));
}
