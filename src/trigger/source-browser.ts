import { posix } from 'node:path';
import { asking, type HostConnections } from './connections.ts';
import type { HostClient, HostNamespace, HostRepository } from './git-host.ts';
import type { TriggerWithSecrets } from './sql-trigger-store.ts';
import type { TriggerConfig } from './trigger-config.ts';
import { TriggerError } from './trigger-error.ts';
import type { Triggers } from './triggers.ts';

type FieldValues = Awaited<ReturnType<Triggers['fieldValues']>>;
type Dockerfiles = Awaited<ReturnType<Triggers['dockerfiles']>>;

/** What a person chooses from while a trigger is set up. Throws TriggerError. */
export class SourceBrowser {
  readonly #connections: HostConnections;

  constructor(connections: HostConnections) {
    this.#connections = connections;
  }

  async namespaces(found: TriggerWithSecrets, signal: AbortSignal): Promise<readonly HostNamespace[]> {
    return await asking(this.#client(found).namespaces(signal));
  }

  async sources(
    found: TriggerWithSecrets,
    namespace: string,
    signal: AbortSignal,
  ): Promise<readonly HostRepository[]> {
    return await asking(this.#client(found).repositories(namespace, signal));
  }

  /** Undefined: there is no such field, or nobody who knows its values. */
  async fieldValues(
    found: TriggerWithSecrets,
    field: string,
    config: Partial<TriggerConfig>,
    signal: AbortSignal,
  ): Promise<FieldValues> {
    const client = this.#connections.client(found);
    if (client === undefined) return undefined;
    const source = sourceOf(found, config);
    const names = async (kind: 'branch' | 'tag') =>
      (await asking(client.refs(source, kind, signal))).map(({ name }) => name);
    switch (field) {
      case 'branch_name':
        return await names('branch');
      case 'tag_name':
        return await names('tag');
      case 'refs':
        return [
          ...(await names('branch')).map((name) => ({ kind: 'branch', name }) as const),
          ...(await names('tag')).map((name) => ({ kind: 'tag', name }) as const),
        ];
      default:
        return undefined;
    }
  }

  async dockerfiles(
    found: TriggerWithSecrets,
    config: Partial<TriggerConfig>,
    signal: AbortSignal,
  ): Promise<Dockerfiles> {
    const client = this.#client(found);
    const source = sourceOf(found, config);
    const branch = (await asking(client.repository(source, signal))).defaultBranch;
    const paths = branch === undefined ? [] : await asking(client.dockerfiles(source, branch, signal));
    return { paths, contexts: Object.fromEntries(paths.map((path) => [path, foldersAbove(path)])) };
  }

  #client(found: TriggerWithSecrets): HostClient {
    const client = this.#connections.client(found);
    if (client !== undefined) return client;
    throw new TriggerError(
      'bad-config',
      'There is no service to ask about the source of this build trigger. Give its settings yourself.',
    );
  }
}

function sourceOf({ trigger }: TriggerWithSecrets, config: Partial<TriggerConfig>): string {
  const source = config.build_source ?? trigger.config?.build_source;
  if (source !== undefined && source !== '') return source;
  throw new TriggerError('bad-config', 'Say which source is meant: "build_source" is missing.');
}

/** Any of them may be the context: `/a/b/Dockerfile` → `/`, `/a`, `/a/b`. */
function foldersAbove(path: string): readonly string[] {
  const folders: string[] = [];
  for (let folder = posix.dirname(path); folder !== '/'; folder = posix.dirname(folder))
    folders.unshift(folder);
  return ['/', ...folders];
}
