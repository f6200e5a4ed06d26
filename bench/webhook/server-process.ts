import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LoginLimiter } from '../../src/account/login-limiter.ts';
import { PasswordHasher } from '../../src/account/password-hash.ts';
import { SignIn } from '../../src/account/sign-in.ts';
import { SqlAccounts } from '../../src/account/sql-accounts.ts';
import { SqlSessions } from '../../src/account/sql-sessions.ts';
import { systemClock as clock } from '../../src/base/clock.ts';
import { composeApi } from '../../src/bin/compose-api.ts';
import { composeFleet } from '../../src/bin/compose-fleet.ts';
import { composeRegistries } from '../../src/bin/compose-registries.ts';
import { composeRegistry } from '../../src/bin/compose-registry.ts';
import { composeStore } from '../../src/bin/compose-store.ts';
import { composeTriggers } from '../../src/bin/compose-triggers.ts';
import { freePort } from '../../src/bin/free-port.ts';
import { FolderBlobStore } from '../../src/blob/folder-blob-store.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { MemoryOrchestrator } from '../../src/orchestrator/memory-orchestrator.ts';
import { loadSigningKey } from '../../src/registry/signing-key.ts';
import { createOnePort } from '../../src/rpc/one-port.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { openServerLog } from '../../src/telemetry/server-log.ts';
import { gitHosts } from '../../src/trigger/host/hosts.ts';
import { UrlSigner } from '../../src/upload/url-signer.ts';
import { usageNow } from '../manager/messages.ts';
import type { FromServer, ServerOptions, ToServer } from './messages.ts';

/**
 * A server as `serve` puts it together, with its log on disk, its queue and what works on deliveries. What is missing is
 * what builds: there is no manager, so that builds stay where they are and can be counted.
 */
const options = JSON.parse(process.argv[2] ?? '') as ServerOptions;
const say = (message: FromServer): void => void process.send?.(message);
const { folder } = options;
const port = await freePort('127.0.0.1');
const registryHost = `127.0.0.1:${port}`;
const url = `http://${registryHost}`;
const logger = openServerLog(join(folder, 'server.log'));
const database = await Database.open({ provider: 'postgres', url: options.databaseUrl });
const secretBox = new SecretBox({ key: Buffer.alloc(32, 7) });
const blobs = new FolderBlobStore({ folder: join(folder, 'blobs') });
await blobs.start();
await mkdir(join(folder, 'registry'));
const { queue, log, uploads, audit, retention, hostKeys, links } = composeStore({
  database,
  blobs,
  secretBox,
  signer: new UrlSigner(Buffer.alloc(32, 8), clock),
  clock,
  logger,
});
await queue.start();
await log.start();
const metrics = new Metrics();
const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
const publicOrigin = () => url;
const registry = composeRegistry({
  database,
  accounts,
  signIn,
  attempts: queue,
  key: await loadSigningKey(join(folder, 'keys'), clock),
  issuer: 'bench',
  folder: join(folder, 'registry'),
  url,
  registryHost,
  publicOrigin,
  clock,
  logger,
});
const external = composeRegistries({ database, secretBox, allowPrivate: [], source: registry.client, clock });
const orchestrator = new MemoryOrchestrator({ clock });
const triggers = composeTriggers({
  database,
  secretBox,
  queue,
  audit,
  accounts,
  hosts: gitHosts({ github: { site: options.github, api: `${options.github}/api/v3`, clock } }),
  registryHost,
  url,
  failureThreshold: 100,
  internalErrorThreshold: 5,
  metrics,
  clock,
  logger,
});
const api = composeApi({
  fleet: composeFleet({ database, clock }),
  ...composeRegistries({ database, secretBox, allowPrivate: [], source: registry.client, clock }),
  accounts,
  signIn,
  sessions: new SqlSessions({ database, clock }),
  ...external,
  audit,
  queue,
  log,
  uploads,
  retention,
  hostKeys,
  triggers,
  links,
  blobs,
  registry,
  orchestrator,
  metrics,
  disk: folder,
  allowPrivate: [],
  publicOrigin,
  clock,
  logger,
  options: {
    version: 'bench',
    registryHost,
    buildSupport: true,
    readerBuildLogs: false,
    https: false,
  },
});
await registry.embedded.start();
await api.start();
const door = createOnePort({ grpc: { accept: (socket) => socket.destroy() }, http: api.server, log: logger });
await door.listen({ host: '127.0.0.1', port });
triggers.start();
await accounts.createUser({ username: 'kim', password: 'correct horse', superuser: true });
const { token } = await accounts.createToken('kim', {
  name: 'bench',
  scopes: ['repo:read', 'repo:write', 'repo:admin', 'user:admin', 'super:user'],
});

process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToServer) => {
  void (async () => {
    if (message.kind === 'usage') {
      say({ kind: 'usage', usage: usageNow() });
      return;
    }
    await triggers.stop();
    api.endStreams();
    await door.stop(0);
    await api.stop();
    await log.stop();
    await queue.stop();
    await orchestrator.close();
    await registry.embedded.stop();
    await database.stop();
    process.exit(0);
  })();
});
say({ kind: 'ready', url, token });
