import { Client } from './client.ts';
import { resolveLogin } from './profile.ts';
import type { Terminal } from './terminal.ts';

/** Flags every command that talks to a server has. */
export interface ServerFlags {
  readonly server?: string;
  readonly json?: boolean;
}

export interface Connection {
  readonly client: Client;
  /** The name the profile knows; undefined when the token came from the environment. */
  readonly username: string | undefined;
}

export async function connect(terminal: Terminal, flags: ServerFlags): Promise<Connection> {
  const login = await resolveLogin(terminal, flags.server);
  return { client: Client.of(login), username: login.username };
}
