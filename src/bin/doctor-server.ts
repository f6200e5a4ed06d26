import { messageOf } from '../base/coded-error.ts';
import { resolveLogin } from '../cli/profile.ts';
import type { Terminal } from '../cli/terminal.ts';
import { type Finding, missing, ok, warning } from '../setup/finding.ts';
import { expectFree } from './listen-error.ts';

const patience = 5_000;
/** Milliseconds that two clocks may differ: tokens are good for longer than that, and Date tells whole seconds. */
const little = 5_000;
const tooMuch = 30_000;

export interface ServerCheckFlags {
  readonly host: string;
  readonly port: number;
  readonly server?: string;
}

/** The port that a server is to have, and the clock of the server that this machine's client talks to. */
export async function checkServer(
  terminal: Terminal,
  { host, port, server }: ServerCheckFlags,
): Promise<readonly Finding[]> {
  const configured =
    server ??
    (await resolveLogin(terminal, undefined).then(
      ({ server: known }) => known,
      () => undefined,
    ));
  const found = [await checkPort(host, port)];
  if (configured !== undefined) found.push(await checkClock(configured));
  return found;
}

/** Free, or a server that is well. */
export async function checkPort(host: string, port: number): Promise<Finding> {
  const name = `port ${port}`;
  const free = await expectFree({ host, port }, '--port or --host').then(
    () => undefined,
    (thrown: unknown) => messageOf(thrown),
  );
  if (free === undefined) return ok(name, `free on ${host}`);
  const at = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  for (const scheme of ['http', 'https']) {
    const answer = await ask(`${scheme}://${at}:${port}/health/instance`);
    if (answer === undefined || typeof answer.services !== 'object') continue;
    if (answer.status === 200) return ok(name, 'a Slipway server has it, and is well');
    const bad = Object.entries(answer.services ?? {}).flatMap(([part, works]) => (works ? [] : [part]));
    return missing(
      name,
      `A Slipway server has it, and does not work: ${bad.join(', ')}.`,
      `curl -s ${scheme}://${at}:${port}/health/instance`,
    );
  }
  return missing(name, free, `sudo ss -ltnp 'sport = :${port}'`);
}

/** Tokens and signed links are good for a time, so clocks must agree. */
export async function checkClock(server: string): Promise<Finding> {
  const name = 'clock';
  const before = Date.now();
  const answer = await ask(new URL('/health/instance', server).toString());
  if (answer?.date === undefined)
    return warning(
      name,
      `${server} does not answer, so this clock was compared with none.`,
      `curl -v ${server}`,
    );
  const now = (before + Date.now()) / 2;
  const apart = Math.abs(now - answer.date - 500);
  const said = `this clock and that of ${server} are ${Math.round(apart / 1000)} s apart`;
  const mend = 'sudo timedatectl set-ntp true';
  if (apart > tooMuch) return missing(name, `${said}: tokens are refused.`, mend);
  return apart > little ? warning(name, `${said}.`, mend) : ok(name, said);
}

async function ask(
  url: string,
): Promise<{ readonly status: number; readonly date?: number; readonly services?: object } | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(patience), redirect: 'manual' });
    const date = Date.parse(response.headers.get('date') ?? '');
    const body = (await response.json().catch(() => undefined)) as
      | { readonly data?: { readonly services?: object } }
      | undefined;
    const services = body?.data?.services;
    return {
      status: response.status,
      ...(Number.isNaN(date) ? {} : { date }),
      ...(services === undefined ? {} : { services }),
    };
  } catch {
    return undefined;
  }
}
