import { SetupError } from '../setup/setup-error.ts';
import { freePort } from './free-port.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Throws SetupError `port-taken` when nobody can listen there now. `setting` is what the operator may change. */
export async function expectFree(address: Address, setting: string): Promise<void> {
  await freePort(address.host, address.port).catch((cause: unknown) => {
    throw listenError(address, setting, cause);
  });
}

/** What to throw for Node's error of a listen: a SetupError when it is about the address. */
export function listenError({ host, port }: Address, setting: string, cause: unknown): unknown {
  const why = cause instanceof Error && 'code' in cause ? reasons[String(cause.code)] : undefined;
  if (why === undefined) return cause;
  return new SetupError(
    'port-taken',
    `Cannot listen on ${host}:${port}: ${why}. Choose another with ${setting}.`,
    cause,
  );
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something else listens there already',
  EACCES: 'this user may not listen there',
  EADDRNOTAVAIL: 'this machine has no such address',
};
