import { join } from 'node:path';
import { harmless } from '../cli/harmless-text.ts';
import { paint, printLine, type Terminal } from '../cli/terminal.ts';
import type { Finding } from '../setup/finding.ts';
import { checkConfiguration } from './doctor-config.ts';
import { checkMachine } from './doctor-machine.ts';
import { checkServer } from './doctor-server.ts';
import type { ProcessEnvironment } from './environment.ts';

export interface DoctorFlags {
  readonly config?: string;
  readonly data?: string;
  readonly host: string;
  readonly port: number;
  readonly server?: string;
  readonly json?: true;
}

const status = { wellEquipped: 0, somethingMissing: 1 } as const;

/** `slipway doctor`: what this machine, or a configuration, lacks, and the command that mends it. Changes nothing. */
export async function doctor(
  environment: ProcessEnvironment,
  terminal: Terminal,
  flags: DoctorFlags,
): Promise<number> {
  const findings: Finding[] = [];
  const show = (found: readonly Finding[]) => {
    for (const finding of found) {
      findings.push(finding);
      if (flags.json !== true)
        for (const line of linesOf(terminal, finding)) printLine(terminal.stdout, line);
    }
  };
  if (flags.config === undefined) {
    const data = flags.data ?? join(environment.dataHome, 'slipway');
    for await (const found of checkMachine(environment, data)) show(found);
    show(await checkServer(terminal, flags));
  } else for await (const found of checkConfiguration(environment, flags.config)) show(found);
  const lacking = findings.filter((finding) => finding.status === 'missing').length;
  if (flags.json === true)
    printLine(terminal.stdout, JSON.stringify({ ok: lacking === 0, findings }, undefined, 2));
  else
    printLine(
      terminal.stdout,
      lacking === 0
        ? 'Nothing that is needed is missing.'
        : `${lacking} of what is needed is missing, see above.`,
    );
  return lacking === 0 ? status.wellEquipped : status.somethingMissing;
}

function linesOf(terminal: Terminal, { name, status: how, what, mend }: Finding): readonly string[] {
  const style = ({ ok: 'green', warning: 'yellow', missing: 'red' } as const)[how];
  const line = `${paint(terminal, style, how.padEnd(7))}  ${harmless(name, false).padEnd(22)}  ${harmless(what, false)}`;
  return mend === undefined ? [line] : [line, `${' '.repeat(9)}${harmless(mend, false)}`];
}
